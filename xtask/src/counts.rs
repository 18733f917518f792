//! What a message costs at each stage, against the committed baseline.
//!
//! Native stages are counted in instructions: the same on a busy machine as on an idle one, and nearly the same on another
//! processor. Calls into guests are compiled code that valgrind does not run well: they are timed as multiples of a
//! native loop.

mod baseline;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::command::{self, host_target, root};
use crate::{debian, demo, plugins};
use baseline::{Costs, Verdict};

/// The program that is counted, and its package.
const PROGRAM: &str = "weir-counts";
const BASELINE: &str = "host/counts/baseline.json";
const VALGRIND: &str = "valgrind";
/// The one function that is counted, with all that it calls: `counter::collected` of the program.
const COUNTED: &str = "*::counter::collected*";
/// The C library copies and compares with what every x86-64 has, instead of with the best that this processor has: else
/// counts would depend on it. The last two names are those of releases before 2.33.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-BMI2,-ERMS,\
    -AVX2_Usable,-AVX512F_Usable";
/// The baseline is that of this processor family.
const ARCH: &str = "x86_64";

/// `cargo xtask counts`; `update`: writes the baseline instead of comparing with it.
pub(crate) fn counts(update: bool) -> Result<()> {
    if env::consts::ARCH != ARCH {
        let why = format!("{BASELINE} is that of {ARCH}, this machine is {}", env::consts::ARCH);
        if update {
            bail!("{why}: it cannot be written here");
        }
        command::step(&format!("{why}: nothing is counted"));
        return Ok(());
    }
    if !command::is_here(VALGRIND) {
        debian::install(&[VALGRIND]).context("instructions are counted by valgrind")?;
    }
    plugins::plugins()?;
    let what = "building the host and what counts its instructions in release";
    command::run(what, demo::release().args(["--package", PROGRAM]))?;
    let now = measure(&host_target().join("release").join(PROGRAM))?;
    let path = root().join(BASELINE);
    if update {
        fs::write(&path, now.to_text()?).with_context(|| format!("writing {}", path.display()))?;
        command::step(&format!("{BASELINE} is written: commit it with the change that it belongs to"));
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let committed = Costs::read(&text).with_context(|| format!("reading {BASELINE}"))?;
    judge(&baseline::compare(&committed, &now))
}

/// Prints a table; an error names what costs too much.
fn judge(lines: &[baseline::Line]) -> Result<()> {
    lines.iter().for_each(|line| println!("{line}"));
    let cheaper = lines.iter().filter(|line| line.verdict == Verdict::Cheaper).count();
    if cheaper > 0 {
        command::step(&format!(
            "{cheaper} cost far less than {BASELINE} says: run `cargo xtask counts --update` and commit it, else they \
             may grow back unnoticed"
        ));
    }
    let failed: Vec<String> = lines.iter().filter(|line| line.fails()).map(ToString::to_string).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "not as {BASELINE} says:\n  {}\nIf that is what the change is meant to cost, run `cargo xtask counts --update` \
         and commit the file with it",
        failed.join("\n  ")
    )
}

fn measure(program: &Path) -> Result<Costs> {
    let list = command::output("asking for the stages", Command::new(program).arg("list"))?;
    let mut costs = Costs::default();
    for stage in list.lines() {
        let count = instructions(program, stage)?;
        costs.instructions.insert(stage.to_owned(), count);
    }
    let guests = command::output("timing calls into guests", Command::new(program).arg("guests"))?;
    costs.guests = serde_json::from_str(&guests).context("the ratios of calls into guests")?;
    Ok(costs)
}

/// Instructions per message of one stage.
fn instructions(program: &Path, stage: &str) -> Result<f64> {
    let out = profile(stage);
    let mut valgrind = Command::new(VALGRIND);
    valgrind.args(["--tool=callgrind", "--quiet", "--dump-line=no", "--compress-strings=yes"]);
    valgrind
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(program).args(["stage", stage]).env("GLIBC_TUNABLES", TUNABLES);
    let what = format!("counting the instructions of {stage}");
    command::step(&what);
    let messages = command::output(&what, &mut valgrind)?;
    let messages: u32 = messages.trim().parse().with_context(|| format!("{what}: the number of messages"))?;
    let found = fs::read_to_string(&out).with_context(|| format!("reading {}", out.display()))?;
    match baseline::total(&found) {
        Some(total) if total > 0 && messages > 0 => {
            Ok((total as f64 / f64::from(messages) * 10.0).round() / 10.0)
        }
        _ => bail!("{what}: callgrind has counted nothing in {COUNTED}; see {}", out.display()),
    }
}

/// Where callgrind writes: kept, so that `callgrind_annotate` can say where the instructions are.
fn profile(stage: &str) -> PathBuf {
    host_target().join("release").join(format!("callgrind.{stage}"))
}
