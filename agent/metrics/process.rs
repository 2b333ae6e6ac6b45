//! The process as the kernel sees it, read when it is asked for; names and meanings are Prometheus' own.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use std::collections::HashMap;
use std::fs;

/// Ticks of a second in `/proc`: fixed at 100 in what Linux tells programs.
const TICKS_PER_SECOND: f64 = 100.0;

const CPU_SECONDS: (&str, &str) =
    ("process_cpu_seconds_total", "CPU time of the process, user and system, in seconds.");
const RESIDENT_BYTES: (&str, &str) = ("process_resident_memory_bytes", "Resident memory of the process in bytes.");
const OPEN_FDS: (&str, &str) = ("process_open_fds", "Open file descriptors of the process.");
const START_SECONDS: (&str, &str) = ("process_start_time_seconds", "When the process started, in seconds since 1970.");

/// Gathers `process_*`; a figure that cannot be read is left out.
pub(super) struct Process {
    descs: Vec<Desc>,
}

impl Process {
    pub fn new() -> Process {
        let desc = |(name, help): (&str, &str)| {
            Desc::new(name.into(), help.into(), Vec::new(), HashMap::new()).expect("the names above are valid")
        };
        Process { descs: [CPU_SECONDS, RESIDENT_BYTES, OPEN_FDS, START_SECONDS].map(desc).into() }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let figures = [
            (CPU_SECONDS, MetricType::COUNTER, Some(cpu_seconds())),
            (RESIDENT_BYTES, MetricType::GAUGE, resident_bytes()),
            (OPEN_FDS, MetricType::GAUGE, open_fds()),
            (START_SECONDS, MetricType::GAUGE, start_seconds()),
        ];
        figures.into_iter().filter_map(|((name, help), kind, value)| Some(family(name, help, kind, value?))).collect()
    }
}

fn family(name: &str, help: &str, kind: MetricType, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 * 1e-9
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kibibytes.trim().parse::<f64>().ok()? * 1024.0)
}

fn open_fds() -> Option<f64> {
    // The listing itself holds one.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn start_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command (field 2, in parentheses) may hold anything; starttime is field 22, the 20th after it.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_this_process_are_plausible() {
        let families = Process::new().collect();
        let value = |name: &str| {
            let metric = &families.iter().find(|family| family.name() == name).unwrap().get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..1e6).contains(&value(CPU_SECONDS.0)));
        assert!((1e6..1e12).contains(&value(RESIDENT_BYTES.0)));
        assert!((3.0..1e6).contains(&value(OPEN_FDS.0)));
        assert!((now - 86_400.0..now + 2.0).contains(&value(START_SECONDS.0)), "{}", value(START_SECONDS.0));
    }
}
