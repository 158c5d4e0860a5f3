//! GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS family: members within a circle or a box.

use super::geohash::Point;
use super::member::{point, write_point};
use super::shape::{Outline, Shape};
use super::{distance_text, metres, number};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::family::zset::store::store;
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::store::{ScoreRange, ZsetRef};

const NO_SUCH_MEMBER: CommandError =
    CommandError::new("ERR could not decode requested zset member");
const NOT_A_RADIUS: CommandError = CommandError::new("ERR need numeric radius");
const NEGATIVE_RADIUS: CommandError = CommandError::new("ERR radius cannot be negative");
const NOT_A_WIDTH: CommandError = CommandError::new("ERR need numeric width");
const NOT_A_HEIGHT: CommandError = CommandError::new("ERR need numeric height");
const NEGATIVE_BOX: CommandError = CommandError::new("ERR height or width cannot be negative");
const NO_COUNT: CommandError = CommandError::new("ERR COUNT must be > 0");
const ANY_OF_ALL: CommandError = CommandError::new("ERR the ANY argument requires COUNT argument");

const IN_SHAPE: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around \
     the shape provided as the filter and M is the number of items inside the shape";
const IN_CIRCLE: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area \
     delimited by center and radius and M is the number of items inside the index.";

/// GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit
/// [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH] -- the members within.
pub(super) const GEOSEARCH: Command = Command::new(
    "geosearch",
    -7,
    geosearch,
    Docs::new(
        "geo",
        "6.2.0",
        "Query a sorted set representing a geospatial index to fetch members inside an area \
         of a box or a circle.",
    )
    .complexity(IN_SHAPE)
    .syntax(
        "key from=<FROMMEMBER member | FROMLONLAT <longitude latitude>> by=<circle=<BYRADIUS \
         radius unit=<M | KM | FT | MI>> | box=<BYBOX width height unit=<M | KM | FT | MI>>> \
         order=[ASC | DESC] count=[COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    )
    .history(&[("7.0.0", "Added support for uppercase unit names.")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn geosearch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(cx, args, Variant::Search)
}

/// GEOSEARCHSTORE destination source ... [STOREDIST] -- stores the members within, or their distances; their number.
pub(super) const GEOSEARCHSTORE: Command = Command::new(
    "geosearchstore",
    -8,
    geosearchstore,
    Docs::new(
        "geo",
        "6.2.0",
        "Query a sorted set representing a geospatial index to fetch members inside an area \
         of a box or a circle, and store the result in another key.",
    )
    .complexity(IN_SHAPE)
    .syntax(
        "destination source from=<FROMMEMBER member | FROMLONLAT <longitude latitude>> \
         by=<circle=<BYRADIUS radius unit=<M | KM | FT | MI>> | box=<BYBOX width height \
         unit=<M | KM | FT | MI>>> order=[ASC | DESC] count=[COUNT count [ANY]] [STOREDIST]",
    )
    .history(&[("7.0.0", "Added support for uppercase unit names.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::GEO)
.keys(&[
    KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE]),
    KeySpec::index(2, &[KeyFlags::RO, KeyFlags::ACCESS]),
]);

fn geosearchstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(cx, args, Variant::SearchStore)
}

/// GEORADIUS key longitude latitude radius unit ... [STORE key] [STOREDIST key] -- the members of a circle.
pub(super) const GEORADIUS: Command = Command::new(
    "georadius",
    -6,
    georadius,
    Docs::new(
        "geo",
        "3.2.0",
        "Query a sorted set representing a geospatial index to fetch members matching a given \
         maximum distance from a point",
    )
    .complexity(IN_CIRCLE)
    .syntax(
        "key longitude latitude radius unit=<M | KM | FT | MI> [WITHCOORD] [WITHDIST] \
         [WITHHASH] count=[COUNT count [ANY]{6.2.0}] order=[ASC | DESC] [STORE key] \
         [STOREDIST key]",
    )
    .history(&[
        ("6.2.0", "Added the `ANY` option for `COUNT`."),
        ("7.0.0", "Added support for uppercase unit names."),
    ])
    .deprecated(
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
    ),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS])
.find_keys(radius_keys)
.family(Categories::GEO)
.keys(&radius_specs(6));

fn georadius(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(cx, args, Variant::Radius { stores: true })
}

/// GEORADIUS_RO -- GEORADIUS that never stores.
pub(super) const GEORADIUS_RO: Command = Command::new(
    "georadius_ro",
    -6,
    georadius_ro,
    Docs::new("geo", "3.2.10", "A read-only variant for GEORADIUS")
        .complexity(IN_CIRCLE)
        .syntax(
            "key longitude latitude radius unit=<M | KM | FT | MI> [WITHCOORD] [WITHDIST] \
         [WITHHASH] count=[COUNT count [ANY]{6.2.0}] order=[ASC | DESC]",
        )
        .history(&[("6.2.0", "Added the `ANY` option for `COUNT`.")])
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn georadius_ro(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(cx, args, Variant::Radius { stores: false })
}

/// GEORADIUSBYMEMBER key member radius unit ... [STORE key] [STOREDIST key] -- the members of a circle around one.
pub(super) const GEORADIUSBYMEMBER: Command = Command::new(
    "georadiusbymember",
    -5,
    georadiusbymember,
    Docs::new(
        "geo",
        "3.2.0",
        "Query a sorted set representing a geospatial index to fetch members matching a given \
         maximum distance from a member",
    )
    .complexity(IN_CIRCLE)
    .syntax(
        "key member radius unit=<M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
         count=[COUNT count [ANY]] order=[ASC | DESC] [STORE key] [STOREDIST key]",
    )
    .history(&[("7.0.0", "Added support for uppercase unit names.")])
    .deprecated(
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    ),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS])
.find_keys(radius_keys)
.family(Categories::GEO)
.keys(&radius_specs(5));

fn georadiusbymember(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(cx, args, Variant::RadiusByMember { stores: true })
}

/// GEORADIUSBYMEMBER_RO -- GEORADIUSBYMEMBER that never stores.
pub(super) const GEORADIUSBYMEMBER_RO: Command = Command::new(
    "georadiusbymember_ro",
    -5,
    georadiusbymember_ro,
    Docs::new("geo", "3.2.10", "A read-only variant for GEORADIUSBYMEMBER")
        .complexity(IN_CIRCLE)
        .syntax(
            "key member radius unit=<M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
         count=[COUNT count [ANY]] order=[ASC | DESC]",
        )
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
        ),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn georadiusbymember_ro(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(cx, args, Variant::RadiusByMember { stores: false })
}

/// The key specs of the two that may store: the source, and a destination behind a word from `options` on.
const fn radius_specs(options: i16) -> [KeySpec; 3] {
    const DESTINATION: &[KeyFlags] = &[KeyFlags::OW, KeyFlags::UPDATE];
    [
        KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS]),
        KeySpec::keyword("STORE", options, 0, DESTINATION),
        KeySpec::keyword("STOREDIST", options, 0, DESTINATION),
    ]
}

/// The keys of GEORADIUS and GEORADIUSBYMEMBER: the source, and the last one behind STORE or STOREDIST.
fn radius_keys(argv: &[&[u8]]) -> KeyRefs {
    const OPTIONS_FROM: usize = 5;
    let mut keys = KeyRefs::new();
    if argv.len() > 1 {
        keys.push(KeyRef {
            position: 1,
            flags: KeyFlags::all(&[KeyFlags::RO, KeyFlags::ACCESS]),
        });
    }
    let (mut stored, mut at) = (None, OPTIONS_FROM);
    while at + 1 < argv.len() {
        let is_store = [&b"store"[..], b"storedist"]
            .iter()
            .any(|word| argv[at].eq_ignore_ascii_case(word));
        if is_store {
            at += 1;
            stored = Some(at);
        }
        at += 1;
    }
    keys.extend(stored.map(|position| KeyRef {
        position,
        flags: KeyFlags::all(&[KeyFlags::OW, KeyFlags::UPDATE]),
    }));
    keys
}

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Radius { stores: bool },
    RadiusByMember { stores: bool },
    Search,
    SearchStore,
}

impl Variant {
    fn searches(self) -> bool {
        matches!(self, Variant::Search | Variant::SearchStore)
    }
}

/// Where a result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Destination<'a> {
    key: &'a [u8],
    /// Distances are stored, not places.
    distances: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sorting {
    Ascending,
    Descending,
}

/// What is asked for.
#[derive(Default)]
struct Query<'a> {
    centre: Option<Point>,
    outline: Option<Outline>,
    /// Metres in the unit that distances are replied in.
    metres: f64,
    has_centre: bool,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    sorting: Option<Sorting>,
    any: bool,
    /// Most members; 0: no bound.
    count: usize,
    destination: Option<Destination<'a>>,
}

/// A member that was found.
struct Hit<'a> {
    member: &'a [u8],
    score: f64,
    place: Point,
    /// Metres from the centre.
    distance: f64,
}

fn search(cx: &mut Context<'_>, mut args: Args<'_>, variant: Variant) -> Outcome {
    let name = args.argv()[0];
    let to = match variant {
        Variant::SearchStore => Some(args.word()?),
        _ => None,
    };
    let key = args.word()?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    let mut query = Query {
        metres: 1.0,
        destination: to.map(|key| Destination {
            key,
            distances: false,
        }),
        ..Query::default()
    };
    query.read(args, variant, zset.as_ref())?;
    query.check(name, variant)?;
    let hits = match (&zset, query.centre, query.outline) {
        (Some(zset), Some(centre), Some(outline)) => query.hits(zset, &Shape { centre, outline }),
        _ => Vec::new(),
    };
    let Some(destination) = query.destination else {
        query.reply(cx, &hits);
        return Ok(Flow::Done);
    };
    let members: Vec<(&[u8], f64)> = hits
        .iter()
        .map(|hit| match destination.distances {
            true => (hit.member, hit.distance / query.metres),
            false => (hit.member, hit.score),
        })
        .collect();
    let event = if variant.searches() {
        "geosearchstore"
    } else {
        "georadiusstore"
    };
    store(cx, destination.key, &members, event)
}

impl<'a> Query<'a> {
    /// Reads what follows the source key. Without a source centres cannot be looked up, but all is read.
    fn read(
        &mut self,
        mut args: Args<'a>,
        variant: Variant,
        zset: Option<&ZsetRef<'_, '_>>,
    ) -> Result<(), CommandError> {
        match variant {
            Variant::Radius { .. } => {
                self.set_centre(point(args.word()?, args.word()?)?);
                self.read_radius(&mut args)?;
            }
            Variant::RadiusByMember { .. } => {
                let member = args.word()?;
                match zset {
                    Some(zset) => {
                        self.set_centre(place_of(zset, member)?);
                        self.read_radius(&mut args)?;
                    }
                    None => {
                        args.word()?;
                        args.word()?;
                    }
                }
            }
            Variant::Search | Variant::SearchStore => {}
        }
        let (mut from_member, mut from_place) = (false, false);
        let (mut by_radius, mut by_box) = (false, false);
        let searches = variant.searches();
        let stores = matches!(
            variant,
            Variant::Radius { stores: true } | Variant::RadiusByMember { stores: true }
        );
        while !args.is_empty() {
            let more = args.len() - 1;
            if args.accept("WITHDIST") {
                self.with_distance = true;
            } else if args.accept("WITHHASH") {
                self.with_hash = true;
            } else if args.accept("WITHCOORD") {
                self.with_place = true;
            } else if args.accept("ANY") {
                self.any = true;
            } else if args.accept("ASC") {
                self.sorting = Some(Sorting::Ascending);
            } else if args.accept("DESC") {
                self.sorting = Some(Sorting::Descending);
            } else if more >= 1 && args.accept("COUNT") {
                let count = args.integer_in(1..=i64::MAX, NO_COUNT)?;
                self.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if stores && more >= 1 && args.accept("STORE") {
                self.destination = Some(Destination {
                    key: args.word()?,
                    distances: false,
                });
            } else if stores && more >= 1 && args.accept("STOREDIST") {
                self.destination = Some(Destination {
                    key: args.word()?,
                    distances: true,
                });
            } else if variant == Variant::SearchStore && args.accept("STOREDIST") {
                if let Some(destination) = &mut self.destination {
                    destination.distances = true;
                }
            } else if searches && more >= 1 && !from_place && args.accept("FROMMEMBER") {
                let member = args.word()?;
                from_member = true;
                self.has_centre = true;
                if let Some(zset) = zset {
                    self.set_centre(place_of(zset, member)?);
                }
            } else if searches && more >= 2 && !from_member && args.accept("FROMLONLAT") {
                self.set_centre(point(args.word()?, args.word()?)?);
                from_place = true;
            } else if searches && more >= 2 && !by_box && args.accept("BYRADIUS") {
                self.read_radius(&mut args)?;
                by_radius = true;
            } else if searches && more >= 3 && !by_radius && args.accept("BYBOX") {
                self.read_box(&mut args)?;
                by_box = true;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(())
    }

    fn set_centre(&mut self, centre: Point) {
        self.has_centre = true;
        self.centre = Some(centre);
    }

    fn read_radius(&mut self, args: &mut Args<'a>) -> Result<(), CommandError> {
        let radius = number(args.word()?, NOT_A_RADIUS)?;
        if radius < 0.0 {
            return Err(NEGATIVE_RADIUS);
        }
        self.metres = metres(args.word()?)?;
        self.outline = Some(Outline::Circle {
            radius: radius * self.metres,
        });
        Ok(())
    }

    fn read_box(&mut self, args: &mut Args<'a>) -> Result<(), CommandError> {
        let width = number(args.word()?, NOT_A_WIDTH)?;
        let height = number(args.word()?, NOT_A_HEIGHT)?;
        if width < 0.0 || height < 0.0 {
            return Err(NEGATIVE_BOX);
        }
        self.metres = metres(args.word()?)?;
        self.outline = Some(Outline::Box {
            width: width * self.metres,
            height: height * self.metres,
        });
        Ok(())
    }

    /// Refuses what does not go together.
    fn check(&self, name: &[u8], variant: Variant) -> Result<(), CommandError> {
        let with_more = self.with_distance || self.with_hash || self.with_place;
        if self.destination.is_some() && with_more {
            let what = match variant {
                Variant::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(CommandError::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if variant.searches() && !self.has_centre {
            return Err(CommandError::quoting(&[
                b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ",
                name,
            ]));
        }
        if variant.searches() && self.outline.is_none() {
            return Err(CommandError::quoting(&[
                b"ERR exactly one of BYRADIUS and BYBOX can be specified for ",
                name,
            ]));
        }
        if self.any && self.count == 0 {
            return Err(ANY_OF_ALL);
        }
        Ok(())
    }

    /// The members within, sorted and cut as asked for.
    fn hits<'z>(&self, zset: &ZsetRef<'_, 'z>, shape: &Shape) -> Vec<Hit<'z>> {
        let limit = if self.any { self.count } else { 0 };
        let mut hits = Vec::new();
        for (min, max) in shape.score_ranges() {
            let range = ScoreRange {
                min: min as f64,
                min_open: false,
                max: max as f64,
                max_open: true,
            };
            for (member, score) in zset.range(zset.ranks_by_score(&range), false) {
                if limit > 0 && hits.len() >= limit {
                    break;
                }
                let place = Point::of_score(score);
                if let Some(distance) = shape.distance_within(place) {
                    hits.push(Hit {
                        member,
                        score,
                        place,
                        distance,
                    });
                }
            }
        }
        // The nearest ones, if only some are wanted.
        let sorting = match self.sorting {
            None if self.count > 0 && !self.any => Some(Sorting::Ascending),
            sorting => sorting,
        };
        match sorting {
            Some(Sorting::Ascending) => hits.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
            Some(Sorting::Descending) => hits.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
            None => {}
        }
        if self.count > 0 {
            hits.truncate(self.count);
        }
        hits
    }

    fn reply(&self, cx: &mut Context<'_>, hits: &[Hit<'_>]) {
        let more = [self.with_distance, self.with_hash, self.with_place];
        let more = more.iter().filter(|with| **with).count();
        cx.out.array(hits.len());
        for hit in hits {
            if more > 0 {
                cx.out.array(more + 1);
            }
            cx.out.bulk(hit.member);
            if self.with_distance {
                cx.out.bulk(distance_text(hit.distance / self.metres));
            }
            if self.with_hash {
                cx.out.integer(hit.score as i64);
            }
            if self.with_place {
                write_point(cx.out, hit.place);
            }
        }
    }
}

fn place_of(zset: &ZsetRef<'_, '_>, member: &[u8]) -> Result<Point, CommandError> {
    let score = zset.score(member).ok_or(NO_SUCH_MEMBER)?;
    Ok(Point::of_score(score))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stored_key_counts() {
        let positions = |line: &str| -> Vec<usize> {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            radius_keys(&words).iter().map(|key| key.position).collect()
        };
        assert_eq!(positions("GEORADIUS k 1 2 3 km"), [1]);
        assert_eq!(
            positions("GEORADIUS k 1 2 3 km STORE a storedist b"),
            [1, 9]
        );
        assert_eq!(positions("GEORADIUS k 1 2 3 km STORE"), [1]);
        assert_eq!(positions("GEORADIUSBYMEMBER k m 3 km STORE a"), [1, 6]);
    }
}
