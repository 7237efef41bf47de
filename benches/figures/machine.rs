//! The machine and its processes: what it is, which core to run on, how much memory and time a process takes.

use std::{fs, process::Command};

/// A sentence about the machine, for under the table.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} cores ({}), {}; load average at the end {}",
        cores(),
        model.trim_start_matches([' ', '\t', ':']),
        if can_pin() { "server and load pinned to one each" } else { "not pinned: there is no `taskset`" },
        load.split(' ').next().unwrap_or("unknown"),
    )
}

/// A command that runs on one core, if it shall and where that can be had.
pub fn pinned(core: Option<usize>, program: &str) -> Command {
    let Some(core) = core.filter(|_| can_pin()) else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

fn can_pin() -> bool {
    cores() > 1 && Command::new("taskset").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Resident memory of a process in bytes.
pub fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Processor time that a process has taken, in seconds.
pub fn processor_time(process: u32) -> f64 {
    /// The kernel's unit in `/proc`, fixed on every platform that we run on.
    const PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name in parentheses, which may hold anything: fields 3 and on.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |n: usize| fields[n - 3].parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / PER_SECOND
}
