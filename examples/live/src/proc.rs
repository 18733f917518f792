//! This machine's load, memory, CPU and network counters, as Linux tells them below `/proc`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// What the machine is doing now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Processes that ran or wanted to, on average over the last minute.
    pub load: f64,
    /// Time that the processors were busy since the sample before, in percent; 0 in the first.
    pub cpu_percent: f64,
    /// Bytes of memory in use.
    pub memory_used: u64,
    /// Bytes of memory in all.
    pub memory_total: u64,
    /// Bytes received by all network interfaces, loopback included, since the machine was started.
    pub received: u64,
    /// Bytes sent, likewise.
    pub sent: u64,
}

/// Reads samples.
#[derive(Debug)]
pub struct Proc {
    root: PathBuf,
    before: Option<Cpu>,
}

/// Time of all processors so far, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cpu {
    busy: u64,
    total: u64,
}

impl Proc {
    /// This machine's.
    pub fn new() -> Self {
        Self::at(Path::new("/proc"))
    }

    /// The files below another folder.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), before: None }
    }

    /// One sample.
    pub fn sample(&mut self) -> Result<Sample> {
        let cpu = self.parse("stat", parse_cpu)?;
        let cpu_percent = self.before.replace(cpu).map_or(0.0, |before| busy_percent(before, cpu));
        let (memory_used, memory_total) = self.parse("meminfo", parse_memory)?;
        let (received, sent) = self.parse("net/dev", parse_network)?;
        let load = self.parse("loadavg", parse_load)?;
        Ok(Sample { load, cpu_percent, memory_used, memory_total, received, sent })
    }

    fn parse<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let path = self.root.join(name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}: this needs Linux with /proc mounted", path.display()))?;
        parse(&text).with_context(|| format!("{} is not as Linux writes it: {text:.80?}", path.display()))
    }
}

impl Default for Proc {
    fn default() -> Self {
        Self::new()
    }
}

/// First number of `/proc/loadavg`.
fn parse_load(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// First line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, then guest times, which
/// user and nice contain already.
fn parse_cpu(text: &str) -> Option<Cpu> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
    let total = ticks.iter().sum();
    Some(Cpu { busy: u64::saturating_sub(total, idle), total })
}

/// To one decimal. The kernel's idle time may step back a little, hence the saturation.
fn busy_percent(before: Cpu, now: Cpu) -> f64 {
    let total = now.total.saturating_sub(before.total);
    let busy = now.busy.saturating_sub(before.busy).min(total);
    if total == 0 { 0.0 } else { (busy as f64 * 1_000.0 / total as f64).round() / 10.0 }
}

/// Used and total bytes of `/proc/meminfo`; used is what is not available to programs.
fn parse_memory(text: &str) -> Option<(u64, u64)> {
    let bytes = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = rest.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    let (total, available) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    Some((total.saturating_sub(available), total))
}

/// Received and sent bytes of all interfaces in `/proc/net/dev`. The two lines on top have no colon.
fn parse_network(text: &str) -> Option<(u64, u64)> {
    let mut sums = (0_u64, 0_u64);
    for (_, counters) in text.lines().filter_map(|line| line.split_once(':')) {
        let mut counters = counters.split_ascii_whitespace();
        let received: u64 = counters.next()?.parse().ok()?;
        let sent: u64 = counters.nth(7)?.parse().ok()?;
        sums = (sums.0.saturating_add(received), sums.1.saturating_add(sent));
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  184494 59049 24270 108597 483 0 174 345 0 0\n\
                        cpu0 91306 30065 11188 55827 99 0 18 178 0 0\nintr 123 0\n";
    const MEMINFO: &str = "MemTotal:       24684092 kB\nMemFree:        16880840 kB\n\
                           MemAvailable:   22398232 kB\nBuffers:           28304 kB\n";
    const NET: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0:441623628   20216    0    0    0     0          0         0  1224403   11888    0    0    0     0       0          0
";

    #[test]
    fn captured_text_is_understood() {
        assert_eq!(parse_load("6.93 7.43 4.89 7/144 4246\n"), Some(6.93));
        assert_eq!(parse_cpu(STAT), Some(Cpu { busy: 268_332, total: 377_412 }));
        let total = 24_684_092 * 1024;
        assert_eq!(parse_memory(MEMINFO), Some((total - 22_398_232 * 1024, total)));
        assert_eq!(parse_network(NET), Some((441_626_821, 1_227_596)));
    }

    #[test]
    fn other_text_is_refused() {
        assert_eq!(parse_load(""), None);
        assert_eq!(parse_cpu("cpu0 1 2 3 4 5\n"), None);
        assert_eq!(parse_cpu("cpu  1 2 x 4\n"), None);
        assert_eq!(parse_memory("MemTotal: 1 kB\n"), None);
        assert_eq!(parse_network("eth0: 12 0\n"), None);
    }

    #[test]
    fn busy_is_the_share_between_two_samples() {
        let at = |busy, total| Cpu { busy, total };
        assert_eq!(busy_percent(at(100, 1_000), at(150, 1_200)), 25.0);
        assert_eq!(busy_percent(at(100, 1_000), at(101, 1_003)), 33.3);
        assert_eq!(busy_percent(at(100, 1_000), at(100, 1_000)), 0.0);
        assert_eq!(busy_percent(at(100, 1_000), at(120, 1_010)), 100.0);
    }

    #[test]
    fn a_sample_is_made_of_all_four_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("net")).unwrap();
        for (name, text) in
            [("stat", STAT), ("meminfo", MEMINFO), ("net/dev", NET), ("loadavg", "0.5 0 0 1/2 3\n")]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut proc = Proc::at(dir.path());
        let first = proc.sample().unwrap();
        assert_eq!((first.load, first.cpu_percent, first.sent), (0.5, 0.0, 1_227_596));
        std::fs::write(dir.path().join("stat"), "cpu  184594 59049 24270 108697 483 0 174 345 0 0\n")
            .unwrap();
        assert_eq!(proc.sample().unwrap().cpu_percent, 50.0);
    }

    #[test]
    fn where_there_is_no_proc_the_error_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", Proc::at(dir.path()).sample().unwrap_err());
        assert!(error.contains("stat") && error.contains("needs Linux with /proc mounted"), "{error}");
    }
}
