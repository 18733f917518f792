//! The clock by which latency is measured: the kernel's monotonic one, which all programs of a machine share.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since this machine was started. Only comparable where [`boot`] is the same.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// Names this start of this machine. Empty where the kernel does not tell.
pub fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// How long a message took, if it was sent by this machine since it was started.
pub fn latency_us(sent_us: u64, sent_boot: &str, here_boot: &str, received_us: u64) -> Option<u64> {
    let comparable = !here_boot.is_empty() && sent_boot == here_boot;
    comparable.then(|| received_us.checked_sub(sent_us)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on() {
        let before = now_us();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now_us() - before >= 2_000);
    }

    #[test]
    fn other_machines_clocks_say_nothing() {
        assert_eq!(latency_us(10, "a", "a", 25), Some(15));
        assert_eq!(latency_us(10, "a", "b", 25), None);
        assert_eq!(latency_us(10, "", "", 25), None);
        assert_eq!(latency_us(30, "a", "a", 25), None);
    }
}
