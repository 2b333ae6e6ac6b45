//! Programs that a test starts: what they print is kept, and they end with the test, however that ends.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for; a machine under load is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks again and again until there is a value; panics with what it last saw instead.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if started.elapsed() > PATIENCE => panic!("{what}: not within {PATIENCE:?}; last seen: {seen}"),
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// The program under test, with an environment that holds nothing of the developer's.
pub fn weir(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).env_clear();
    command
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `weir` to its end, with nothing on its standard input.
pub fn run(args: &[&str]) -> Finished {
    finish(weir(args), b"")
}

/// Runs a program to its end with this standard input.
pub fn finish(mut command: Command, input: &[u8]) -> Finished {
    command.stdin(Stdio::piped());
    let mut process = Process::start(command);
    let mut stdin = process.child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // Its own thread: a program that prints much before it has read all would wait for ever.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let code = process.wait();
    feeder.join().expect("the feeder does not panic");
    process.readers.drain(..).for_each(|reader| reader.join().expect("a reader does not panic"));
    Finished { code, stdout: process.stdout(), stderr: process.stderr() }
}

/// A running program.
pub struct Process {
    child: Child,
    stdout: Captured,
    stderr: Captured,
    readers: Vec<JoinHandle<()>>,
}

type Captured = Arc<Mutex<Vec<u8>>>;

impl Process {
    pub fn start(mut command: Command) -> Process {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let (stdout, first) = capture(child.stdout.take().expect("a pipe"));
        let (stderr, second) = capture(child.stderr.take().expect("a pipe"));
        Process { child, stdout, stderr, readers: vec![first, second] }
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    /// Waits for its end; its exit code, if no signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        eventually("the end of a process", || match self.child.try_wait().expect("a child") {
            Some(status) => Ok(status.code()),
            None => Err(text(&self.stderr)),
        })
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Kills what it started itself. strace would let it go on when it is told to end.
    pub fn kill_children(&self) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)) {
            let _ = kill_process(child, Signal::KILL);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id")).expect("not 0")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill_children();
            // Politely first: a program may have something to put away.
            let _ = kill_process(self.pid(), Signal::TERM);
            let started = Instant::now();
            while !self.has_ended() && started.elapsed() < Duration::from_secs(3) {
                thread::sleep(LOOK_EVERY);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- standard error of process {}\n{}", self.child.id(), self.stderr());
        }
    }
}

fn capture(mut from: impl Read + Send + 'static) -> (Captured, JoinHandle<()>) {
    let captured = Captured::default();
    let into = Arc::clone(&captured);
    let reader = thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            into.lock().expect("nobody panics with it").extend_from_slice(&chunk[..read]);
        }
    });
    (captured, reader)
}

fn text(captured: &Captured) -> String {
    String::from_utf8_lossy(&captured.lock().expect("nobody panics with it")).into_owned()
}

/// A figure of a running process in KiB: `VmRSS` is what it has in memory, `VmHWM` the most that it had.
pub fn memory_kib(process: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_else(|| panic!("{figure}: {status}"))
}

/// The kernel tells times to programs in hundredths of a second.
const TICK_MS: u64 = 10;

/// What a running process has had of the processors.
pub fn cpu_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    // Its name comes second, in brackets, and may hold anything; user and system time are the 14th and 15th.
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * TICK_MS)
}

/// Whether programs of the system may be started (`tests/run` installs them and says so); prints that it was left out.
pub fn real_parts(what: &str) -> bool {
    let there = std::env::var_os("WEIR_REAL_PARTS").is_some_and(|value| value == "1");
    if !there {
        println!("left out: {what} (WEIR_REAL_PARTS=1 runs it; tests/run sets it)");
    }
    there
}

/// A port of the loopback that was free a moment ago, for programs that cannot take one by themselves.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
