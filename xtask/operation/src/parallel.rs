//! How many nodes run at a time, by processors and memory.

/// One node more for so many processors: configuring, linking and checks leave most of them idle.
const PROCESSORS: usize = 4;
/// More nodes than this do not wait for processors, but for each other.
const MOST: usize = 8;
/// What a compiler of C++ takes on one of the files of TVM, in bytes.
const COMPILER: u64 = 1 << 30;

/// Nodes at a time on this machine, each of which may use so many processors. Two are worth it on two processors.
pub fn nodes(jobs: usize) -> usize {
    nodes_in(jobs, memory())
}

fn nodes_in(jobs: usize, memory: Option<u64>) -> usize {
    let jobs = jobs.max(1);
    let by_processors = (jobs / PROCESSORS).clamp(2, MOST).min(jobs);
    let fits = |memory: u64| usize::try_from(memory / (jobs as u64 * COMPILER)).unwrap_or(MOST);
    memory.map_or(by_processors, |memory| by_processors.min(fits(memory).max(1)))
}

/// The memory of this machine, or of the control group that this process is in, in bytes.
fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim();
    let machine: u64 = kilobytes.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    // `max`, where there is no limit, is not a number.
    let group = group.and_then(|text| text.trim().parse().ok());
    Some(group.map_or(machine, |group: u64| group.min(machine)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_follow_from_processors_and_memory() {
        const GB: u64 = 1 << 30;
        for (jobs, memory, expected) in [
            (1, Some(64 * GB), 1),
            (2, Some(24 * GB), 2),
            (2, Some(3 * GB), 1),
            (4, Some(8 * GB), 2),
            (8, Some(16 * GB), 2),
            (16, Some(64 * GB), 4),
            (16, Some(32 * GB), 2),
            (16, None, 4),
            (64, Some(1024 * GB), 8),
            (64, Some(16 * GB), 1),
            (0, Some(GB), 1),
        ] {
            assert_eq!(nodes_in(jobs, memory), expected, "{jobs} jobs, {memory:?}");
        }
        assert!(memory().is_some_and(|memory| memory > 1 << 26), "this machine says what it has");
    }
}
