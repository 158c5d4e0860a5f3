//! GEOADD, GEODIST, GEOHASH, GEOPOS: places of single members.

use super::geohash::{Degrees, Point};
use super::shape::distance;
use super::{coordinate_text, distance_text, metres};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::family::zset::add::add_members;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::store::AddRule;

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...] -- adds members at places, or
/// moves them; the number of new ones, with CH also of moved ones.
pub(super) const GEOADD: Command = Command::new(
    "geoadd",
    -5,
    geoadd,
    Docs::new(
        "geo",
        "3.2.0",
        "Add one or more geospatial items in the geospatial index represented using a sorted set",
    )
    .complexity(
        "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    )
    .syntax(
        "key condition=[NX | XX]{6.2.0} [change=CH]{6.2.0} \
         longitude_latitude_member=<longitude latitude member ...>",
    )
    .history(&[("6.2.0", "Added the `CH`, `NX` and `XX` options.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])])
.replies_first();

fn geoadd(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let mut rule = AddRule::default();
    let (mut count_changed, mut options) = (false, Vec::new());
    while let Some(word) = args.peek() {
        if args.accept("NX") {
            rule.absent = true;
        } else if args.accept("XX") {
            rule.present = true;
        } else if args.accept("CH") {
            count_changed = true;
        } else {
            break;
        }
        options.push(word);
    }
    let (triples, []) = args.rest().as_chunks::<3>() else {
        return Err(errors::SYNTAX);
    };
    if rule.absent && rule.present || triples.is_empty() {
        return Err(errors::SYNTAX);
    }
    let mut members = Vec::with_capacity(triples.len());
    for [longitude, latitude, member] in triples {
        let score = point(longitude, latitude)?.score();
        members.push((*member, score));
    }
    let scored: Vec<(&[u8], f64)> = members
        .iter()
        .map(|(member, score)| (*member, *score as f64))
        .collect();
    let done = add_members(cx, key, &scored, rule)?;
    if done.changed() {
        // Others run the ZADD that this is.
        let scores: Vec<String> = members.iter().map(|(_, score)| score.to_string()).collect();
        let mut words: Vec<&[u8]> = vec![b"zadd", key];
        words.extend(options);
        for ((member, _), score) in members.iter().zip(&scores) {
            words.extend([score.as_bytes(), *member]);
        }
        let db = cx.db();
        cx.effects.instead(db, &words);
    }
    let changed = if count_changed { done.updated } else { 0 };
    cx.reply_integer((done.added + changed) as i64)
}

/// A place among the arguments.
pub(super) fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let longitude = super::number(longitude, errors::NOT_FLOAT)?;
    let latitude = super::number(latitude, errors::NOT_FLOAT)?;
    if !Degrees::LONGITUDES.contains(longitude) || !Degrees::LATITUDES.contains(latitude) {
        return Err(CommandError::owned(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(Point {
        longitude,
        latitude,
    })
}

/// GEODIST key member1 member2 [M | KM | FT | MI] -- the distance of two members, or null.
pub(super) const GEODIST: Command = Command::new(
    "geodist",
    -4,
    geodist,
    Docs::new(
        "geo",
        "3.2.0",
        "Returns the distance between two members of a geospatial index",
    )
    .complexity("O(log(N))")
    .syntax("key member1 member2 unit=[M | KM | FT | MI]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn geodist(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, a, b) = (args.word()?, args.word()?, args.word()?);
    let metres = match args.rest() {
        [] => 1.0,
        [unit] => metres(unit)?,
        _ => return Err(errors::SYNTAX),
    };
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    let place = |member| zset?.score(member).map(Point::of_score);
    match (place(a), place(b)) {
        (Some(a), Some(b)) => cx.reply_bulk(distance_text(distance(a, b) / metres).as_bytes()),
        _ => cx.reply_null(),
    }
}

/// GEOHASH key member [member ...] -- the standard geohashes of members, null for a member that is not there.
pub(super) const GEOHASH: Command = Command::new(
    "geohash",
    -2,
    geohash,
    Docs::new(
        "geo",
        "3.2.0",
        "Returns members of a geospatial index as standard geohash strings",
    )
    .complexity(
        "O(log(N)) for each member requested, where N is the number of elements in the sorted \
         set.",
    )
    .syntax("key member [member ...]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn geohash(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    cx.out.array(args.len());
    for member in args.rest() {
        let score = zset.and_then(|zset| zset.score(member));
        cx.out
            .bulk_or_null(score.map(|score| Point::of_score(score).standard_hash()));
    }
    Ok(Flow::Done)
}

/// GEOPOS key member [member ...] -- longitude and latitude of members, null for a member that is not there.
pub(super) const GEOPOS: Command = Command::new(
    "geopos",
    -2,
    geopos,
    Docs::new(
        "geo",
        "3.2.0",
        "Returns longitude and latitude of members of a geospatial index",
    )
    .complexity("O(N) where N is the number of members requested.")
    .syntax("key member [member ...]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::GEO)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn geopos(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    cx.out.array(args.len());
    for member in args.rest() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => write_point(cx.out, Point::of_score(score)),
            None => cx.out.null_array(),
        }
    }
    Ok(Flow::Done)
}

/// Writes longitude and latitude.
pub(super) fn write_point(out: &mut eagle_core::resp::Writer, point: Point) {
    out.array(2);
    out.double_text(coordinate_text(point.longitude).as_bytes());
    out.double_text(coordinate_text(point.latitude).as_bytes());
}
