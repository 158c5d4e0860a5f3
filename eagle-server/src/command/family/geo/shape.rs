//! What a search covers: a circle or a box around a point, and the areas of geohashes that may hold it.
//!
//! Formulas and their order of evaluation are those of Redis, so that points at the rim fall on the same side and
//! distances have the same digits.

use super::geohash::{Geohash, Point, STEPS_MAX};
use std::f64::consts::PI;

const EARTH_RADIUS_METRES: f64 = 6372797.560856;

/// Half the width of the map in the Mercator projection.
const MERCATOR_METRES_MAX: f64 = 20037726.37;

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// Metres between two points, along the surface (haversine formula).
pub(super) fn distance(a: Point, b: Point) -> f64 {
    let v = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (a_latitude, b_latitude) = (radians(a.latitude), radians(b.latitude));
    let u = ((b_latitude - a_latitude) / 2.0).sin();
    let h = u * u + a_latitude.cos() * b_latitude.cos() * v * v;
    2.0 * EARTH_RADIUS_METRES * h.sqrt().asin()
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_METRES * (radians(b) - radians(a)).abs()
}

/// The outline of a search; lengths in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outline {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// An outline around a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) centre: Point,
    pub(super) outline: Outline,
}

impl Shape {
    /// The distance of a point from the centre, if the point lies within.
    pub(super) fn distance_within(&self, point: Point) -> Option<f64> {
        let centre = self.centre;
        match self.outline {
            Outline::Circle { radius } => {
                Some(distance(centre, point)).filter(|distance| *distance <= radius)
            }
            Outline::Box { width, height } => {
                if latitude_distance(point.latitude, centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Point {
                    longitude: centre.longitude,
                    latitude: point.latitude,
                };
                (distance(point, beside) <= width / 2.0).then(|| distance(centre, point))
            }
        }
    }

    /// Ranges of scores, from the first to before the second, that hold all points within, and others.
    pub(super) fn score_ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        let mut last = None;
        for area in self.areas().into_iter().flatten() {
            // Around the poles and with few steps, neighbours coincide.
            if last.replace(area) != Some(area) {
                let next = Geohash {
                    bits: area.bits + 1,
                    ..area
                };
                ranges.push((area.aligned(), next.aligned()));
            }
        }
        ranges
    }

    /// The area of the centre and those around it, as far as they are of use.
    fn areas(&self) -> [Option<Geohash>; 9] {
        let bounds = self.bounds();
        let mut step = self.estimated_steps();
        let mut hash = Geohash::of(self.centre, step);
        if step > 1 && !reaches(hash, &bounds) {
            step -= 1;
            hash = Geohash::of(self.centre, step);
        }
        let (longitudes, latitudes) = hash.area();
        // With fewer steps the areas wrap around the globe.
        let narrow = step >= 2;
        let west = !(narrow && longitudes.min < bounds.west);
        let east = !(narrow && longitudes.max > bounds.east);
        let south = !(narrow && latitudes.min < bounds.south);
        let north = !(narrow && latitudes.max > bounds.north);
        [
            (0, 0),
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ]
        .map(|(to_east, to_north)| {
            let useful = match to_east {
                1 => east,
                -1 => west,
                _ => true,
            } && match to_north {
                1 => north,
                -1 => south,
                _ => true,
            };
            useful.then(|| hash.neighbour(to_east, to_north))
        })
    }

    /// Steps after which an area is about as large as the shape.
    fn estimated_steps(&self) -> u32 {
        let mut metres = match self.outline {
            Outline::Circle { radius } => radius,
            Outline::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        if metres == 0.0 {
            return STEPS_MAX;
        }
        let mut step = 1i32;
        while metres < MERCATOR_METRES_MAX {
            metres *= 2.0;
            step += 1;
        }
        step -= 2;
        // Towards the poles degrees of longitude are narrow.
        let latitude = self.centre.latitude.abs();
        if latitude > 66.0 {
            step -= 1;
            if latitude > 80.0 {
                step -= 1;
            }
        }
        step.clamp(1, STEPS_MAX as i32) as u32
    }

    /// The degrees between which the shape lies.
    fn bounds(&self) -> Bounds {
        let Point {
            longitude,
            latitude,
        } = self.centre;
        let (width, height) = match self.outline {
            Outline::Circle { radius } => (radius, radius),
            Outline::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let to_north = degrees(height / EARTH_RADIUS_METRES);
        // The side towards the pole spans more degrees.
        let wider = if latitude < 0.0 {
            latitude - to_north
        } else {
            latitude + to_north
        };
        let to_east = degrees(width / EARTH_RADIUS_METRES / radians(wider).cos());
        Bounds {
            west: longitude - to_east,
            south: latitude - to_north,
            east: longitude + to_east,
            north: latitude + to_north,
        }
    }
}

/// Limits in degrees.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

/// Whether the areas around this one reach the bounds on all four sides.
fn reaches(hash: Geohash, bounds: &Bounds) -> bool {
    let longitudes = |east| hash.neighbour(east, 0).area().0;
    let latitudes = |north| hash.neighbour(0, north).area().1;
    latitudes(1).max >= bounds.north
        && latitudes(-1).min <= bounds.south
        && longitudes(1).max >= bounds.east
        && longitudes(-1).min <= bounds.west
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point {
            longitude,
            latitude,
        }
    }

    #[test]
    fn distances_follow_the_surface() {
        let palermo = Point::of_score(3479099956230698.0);
        let catania = Point::of_score(3479447370796909.0);
        assert_eq!(
            super::super::distance_text(distance(palermo, catania)),
            "166274.1516"
        );
        assert_eq!(distance(palermo, palermo), 0.0);
    }

    proptest! {
        /// No point within is missed by the ranges, unless the shape crosses the date line or reaches a pole.
        #[test]
        fn ranges_hold_all_points_within(
            longitude in -100.0..100.0f64, latitude in -60.0..60.0f64, radius in 1.0..1_000_000.0f64,
            away in 0.0..1.0f64, angle in 0.0..6.2f64, is_box: bool,
        ) {
            let centre = point(longitude, latitude);
            let outline = if is_box { Outline::Box { width: radius, height: radius * 0.7 } } else { Outline::Circle { radius } };
            let shape = Shape { centre, outline };
            let span = degrees(radius / EARTH_RADIUS_METRES) * away;
            let other = point(longitude + span * angle.cos() / radians(latitude).cos(), latitude + span * angle.sin());
            let score = other.score();
            prop_assume!(shape.distance_within(Point::of_score(score as f64)).is_some());
            prop_assert!(shape.score_ranges().iter().any(|(from, to)| (*from..*to).contains(&score)));
        }
    }
}
