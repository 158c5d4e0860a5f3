//! Geohashes: longitude and latitude, each halved again and again, with their bits interleaved.
//!
//! ```text
//!   bit 2 i + 1   longitude's bit i       a hash of `step` steps has 2 step bits
//!   bit 2 i       latitude's bit i        26 steps fill the 52 bits that a score keeps exactly
//! ```
//!
//! Latitudes end at 85.05112878 degrees, where a square map of the world in the Mercator projection does. Arithmetic
//! follows Redis's to the last bit, because scores and coordinates are replied.

/// Steps of a hash that is a score.
pub(super) const STEPS_MAX: u32 = 26;

/// Degrees from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Degrees {
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Degrees {
    /// Longitudes there are.
    pub(super) const LONGITUDES: Degrees = Degrees {
        min: -180.0,
        max: 180.0,
    };
    /// Latitudes that can be kept.
    pub(super) const LATITUDES: Degrees = Degrees {
        min: -85.05112878,
        max: 85.05112878,
    };
    /// Latitudes of geohashes in the form of the web service.
    const ALL_LATITUDES: Degrees = Degrees {
        min: -90.0,
        max: 90.0,
    };

    pub(super) fn contains(self, degrees: f64) -> bool {
        (self.min..=self.max).contains(&degrees)
    }

    fn width(self) -> f64 {
        self.max - self.min
    }

    /// Which of `2^step` equal parts `degrees` lies in.
    fn part(self, degrees: f64, step: u32) -> u32 {
        ((degrees - self.min) / self.width() * (1u64 << step) as f64) as u32
    }

    /// The limits of a part.
    fn limits(self, part: u32, step: u32) -> Degrees {
        let at = |part: u32| self.min + f64::from(part) / (1u64 << step) as f64 * self.width();
        Degrees {
            min: at(part),
            max: at(part.wrapping_add(1)),
        }
    }

    fn middle(self) -> f64 {
        (self.min + self.max) / 2.0
    }
}

/// A point, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

impl Point {
    /// The point that a score stands for.
    pub(super) fn of_score(score: f64) -> Point {
        // As the processor converts, whatever the score: negative numbers wrap around, too large ones become 0.
        const TOO_LARGE: f64 = 18446744073709551616.0;
        let bits = if score < 0.0 {
            score as i64 as u64
        } else if score < TOO_LARGE {
            score as u64
        } else {
            0
        };
        let hash = Geohash {
            bits,
            step: STEPS_MAX,
        };
        let (longitudes, latitudes) = (Degrees::LONGITUDES, Degrees::LATITUDES);
        let (longitude, latitude) = hash.area();
        Point {
            longitude: longitude.middle().clamp(longitudes.min, longitudes.max),
            latitude: latitude.middle().clamp(latitudes.min, latitudes.max),
        }
    }

    /// The score that stands for the point.
    pub(super) fn score(self) -> u64 {
        Geohash::of(self, STEPS_MAX).aligned()
    }

    /// The eleven characters by which other services know the point.
    pub(super) fn standard_hash(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = interleave(
            Degrees::ALL_LATITUDES.part(self.latitude, STEPS_MAX),
            Degrees::LONGITUDES.part(self.longitude, STEPS_MAX),
        );
        // 52 bits make ten characters; the eleventh is zero.
        std::array::from_fn(|i| match i {
            10 => ALPHABET[0],
            i => ALPHABET[(bits >> (52 - (i + 1) * 5)) as usize & 31],
        })
    }
}

/// A geohash, which stands for an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geohash {
    pub(super) bits: u64,
    pub(super) step: u32,
}

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

impl Geohash {
    /// The area of so many steps in which a point lies.
    pub(super) fn of(point: Point, step: u32) -> Geohash {
        let bits = interleave(
            Degrees::LATITUDES.part(point.latitude, step),
            Degrees::LONGITUDES.part(point.longitude, step),
        );
        Geohash { bits, step }
    }

    /// The lowest score in the area.
    pub(super) fn aligned(self) -> u64 {
        self.bits << (52 - 2 * self.step)
    }

    /// Longitudes and latitudes of the area.
    pub(super) fn area(self) -> (Degrees, Degrees) {
        let (latitude, longitude) = deinterleave(self.bits);
        (
            Degrees::LONGITUDES.limits(longitude, self.step),
            Degrees::LATITUDES.limits(latitude, self.step),
        )
    }

    /// The area beside this one: `east` and `north` say how many steps away, at most one.
    pub(super) fn neighbour(self, east: i32, north: i32) -> Geohash {
        let used = u64::MAX >> (64 - 2 * self.step);
        // Filling the other coordinate's bits with ones carries an addition across them.
        let moved = |own: u64, other: u64, by: i32| match by {
            0 => own,
            1 => own.wrapping_add((other & used) + 1),
            _ => (own | other & used).wrapping_sub((other & used) + 1),
        };
        let longitude = moved(self.bits & LONGITUDE_BITS, LATITUDE_BITS, east);
        let latitude = moved(self.bits & LATITUDE_BITS, LONGITUDE_BITS, north);
        let kept = |bits: u64, own: u64, by: i32| match by {
            0 => bits,
            _ => bits & own & used,
        };
        Geohash {
            bits: kept(longitude, LONGITUDE_BITS, east) | kept(latitude, LATITUDE_BITS, north),
            step: self.step,
        }
    }
}

/// Puts the bits of one number between those of another.
fn interleave(latitude: u32, longitude: u32) -> u64 {
    spread(latitude) | spread(longitude) << 1
}

fn deinterleave(bits: u64) -> (u32, u32) {
    (gather(bits), gather(bits >> 1))
}

/// Moves bit i to bit 2 i.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Moves bit 2 i to bit i.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Measured with GEOADD and GEOPOS on 7.0.15.
    #[test]
    fn scores_are_those_of_redis() {
        let palermo = Point {
            longitude: 13.361389,
            latitude: 38.115556,
        };
        assert_eq!(palermo.score(), 3479099956230698);
        let read = Point::of_score(3479099956230698.0);
        assert_eq!(
            (read.longitude, read.latitude),
            (13.361389338970184, 38.1155563954963)
        );
        assert_eq!(&read.standard_hash(), b"sqc8b49rny0");
    }

    proptest! {
        #[test]
        fn a_point_lies_in_its_area(longitude in -180.0..180.0, latitude in -85.0..85.0, step in 1..=26u32) {
            let point = Point { longitude, latitude };
            let hash = Geohash::of(point, step);
            let (longitudes, latitudes) = hash.area();
            prop_assert!(longitudes.contains(longitude) && latitudes.contains(latitude));
        }

        #[test]
        fn neighbours_share_a_side(bits: u64, step in 2..=26u32) {
            let hash = Geohash { bits: bits & (u64::MAX >> (64 - 2 * step)), step };
            for (east, north) in [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)] {
                prop_assert_eq!(hash.neighbour(east, north).neighbour(-east, -north), hash);
            }
            let (latitude, longitude) = deinterleave(hash.bits);
            let (_, beside) = deinterleave(hash.neighbour(1, 0).bits);
            prop_assert_eq!(beside, (longitude + 1) % (1 << step));
            prop_assert_eq!(deinterleave(hash.neighbour(0, 1).bits).0, (latitude + 1) % (1 << step));
        }

        #[test]
        fn interleaving_is_undone(latitude: u32, longitude: u32) {
            prop_assert_eq!(deinterleave(interleave(latitude, longitude)), (latitude, longitude));
        }
    }
}
