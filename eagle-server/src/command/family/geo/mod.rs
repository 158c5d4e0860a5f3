//! Commands on sorted sets whose scores are places on the globe.

mod geohash;
mod member;
mod search;
mod shape;

use crate::command::errors::CommandError;
use crate::command::spec::Family;
use eagle_core::text::double;

pub const FAMILY: Family = Family {
    name: "geo",
    commands: &[
        &member::GEOADD,
        &member::GEODIST,
        &member::GEOHASH,
        &member::GEOPOS,
        &search::GEORADIUS,
        &search::GEORADIUSBYMEMBER,
        &search::GEORADIUSBYMEMBER_RO,
        &search::GEORADIUS_RO,
        &search::GEOSEARCH,
        &search::GEOSEARCHSTORE,
    ],
};

const UNKNOWN_UNIT: CommandError =
    CommandError::new("ERR unsupported unit provided. please use M, KM, FT, MI");

/// Metres in a unit.
fn metres(unit: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let known = UNITS
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name.as_bytes()));
    known.map(|(_, metres)| *metres).ok_or(UNKNOWN_UNIT)
}

/// A number among the arguments, or `error`.
fn number(word: &[u8], error: CommandError) -> Result<f64, CommandError> {
    double::parse_f64(word).ok_or(error)
}

/// A distance as it is replied: with four decimals.
fn distance_text(distance: f64) -> String {
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let (whole, part) = (
        scaled.unsigned_abs() / 10_000,
        scaled.unsigned_abs() % 10_000,
    );
    let sign = if scaled < 0 { "-" } else { "" };
    format!("{sign}{whole}.{part:04}")
}

/// A coordinate as it is replied: up to 17 decimals, without zeros at the end.
fn coordinate_text(coordinate: f64) -> String {
    let text = format!("{coordinate:.17}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_four_decimals() {
        for (distance, text) in [
            (0.0, "0.0000"),
            (0.00004, "0.0000"),
            (0.7750, "0.7750"),
            (166274.151561, "166274.1516"),
            (12.5, "12.5000"),
        ] {
            assert_eq!(distance_text(distance), text);
        }
    }

    #[test]
    fn coordinates_end_with_a_digit_that_counts() {
        for (coordinate, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (10.0, "10"),
            (13.361389338970184, "13.36138933897018433"),
            (-1e-18, "0"),
        ] {
            assert_eq!(coordinate_text(coordinate), text);
        }
    }
}
