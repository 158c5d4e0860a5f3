//! Looking inside: PFDEBUG, PFSELFTEST.

use super::count::{at, corrupt, owned, sparse_bytes_max, unshare};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use eagle_core::bits::hyperloglog::{Form, HyperLogLog};
use eagle_core::store::StringForm;

/// PFDEBUG GETREG | DECODE | ENCODING | TODENSE key -- shows or converts the registers of a
/// HyperLogLog.
pub(super) const PFDEBUG: Command = Command::new(
    "pfdebug",
    3,
    pfdebug,
    Docs::new(
        "hyperloglog",
        "2.8.9",
        "Internal commands for debugging HyperLogLog values",
    )
    .complexity("N/A")
    .internal()
    .syntax("subcommand key"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::ADMIN])
.family(Categories::HYPERLOGLOG)
.keys(&[KeySpec::index(2, &[KeyFlags::RW, KeyFlags::ACCESS])]);

fn pfdebug(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NO_KEY: CommandError = CommandError::new("ERR The specified key does not exist");
    const NOT_SPARSE: CommandError = CommandError::new("ERR HLL encoding is not sparse");
    let (word, key) = (args.word()?, args.word()?);
    let hll = at(cx, key)?.ok_or(NO_KEY)?;
    unshare(cx, key, &owned(hll.clone()))?;
    let is_sparse = hll.form() == Form::Sparse;
    let make_dense = |cx: &mut Context<'_>| -> Result<HyperLogLog<Vec<u8>>, CommandError> {
        let mut dense = owned(hll.clone());
        if is_sparse {
            dense.make_dense().map_err(corrupt)?;
            // Replicas are to have the same form, and nobody else is told: what it counts is the same.
            cx.view
                .recode_string(cx.session.db, key, dense.as_bytes(), StringForm::Raw)?;
            cx.effects.force();
        }
        Ok(dense)
    };
    match &word.to_ascii_lowercase()[..] {
        b"getreg" => {
            let registers = make_dense(cx)?.registers().map_err(corrupt)?;
            cx.out.array(registers.len());
            for value in *registers {
                cx.out.integer(value.into());
            }
            Ok(Flow::Done)
        }
        b"decode" if !is_sparse => Err(NOT_SPARSE),
        b"decode" => cx.reply_bulk(hll.describe_sparse().as_bytes()),
        b"encoding" => {
            cx.out.simple(if is_sparse { "sparse" } else { "dense" });
            Ok(Flow::Done)
        }
        b"todense" => {
            make_dense(cx)?;
            cx.reply_bool(is_sparse)
        }
        _ => Err(CommandError::quoting(&[
            b"ERR Unknown PFDEBUG subcommand '",
            word,
            b"'",
        ])),
    }
}

/// PFSELFTEST -- checks registers and estimates against what they should be.
pub(super) const PFSELFTEST: Command = Command::new(
    "pfselftest",
    1,
    pfselftest,
    Docs::new(
        "hyperloglog",
        "2.8.9",
        "An internal command for testing HyperLogLog values",
    )
    .complexity("N/A")
    .internal(),
)
.flags(&[Flags::ADMIN])
.family(Categories::HYPERLOGLOG);

fn pfselftest(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    self_test(sparse_bytes_max(cx), rand::random())?;
    cx.reply_ok()
}

/// Adds different elements to a dense and a sparse HyperLogLog; at each power of ten they must agree,
/// and must not be off by more than six standard errors.
fn self_test(sparse_bytes_max: usize, seed: u64) -> Result<(), CommandError> {
    const ELEMENTS: u64 = 1_000_000;
    const STANDARD_ERROR: f64 = 1.04 / 128.0;
    let (mut sparse, mut dense) = (HyperLogLog::empty(), HyperLogLog::empty());
    dense.make_dense().map_err(corrupt)?;
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        dense.add(&element, 0).map_err(corrupt)?;
        sparse.add(&element, sparse_bytes_max).map_err(corrupt)?;
        if n < checkpoint {
            continue;
        }
        if n < sparse_bytes_max as u64 / 2 && sparse.form() != Form::Sparse {
            return Err(CommandError::new("TESTFAILED sparse encoding not used"));
        }
        let count = dense.count().map_err(corrupt)?;
        if sparse.registers() != dense.registers() || sparse.count() != Ok(count) {
            return Err(CommandError::new("TESTFAILED dense/sparse disagree"));
        }
        let error = count.abs_diff(n);
        // Among few elements two may well meet in one register.
        let error_max = (STANDARD_ERROR * 6.0 * n as f64).ceil() as u64;
        if error > error_max {
            return Err(CommandError::owned(format!(
                "TESTFAILED Too big error. card:{n} abserr:{error}"
            )));
        }
        checkpoint *= 10;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_passes() {
        assert_eq!(self_test(3000, 7), Ok(()));
    }
}
