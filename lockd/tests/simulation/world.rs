//! Everything together: the daemon, the processes, the wires between them, the faults, the judge.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, UNIX_EPOCH};

use lock_runtime::__daemon::moment;
use lock_runtime::Moment;
use lockd::engine::{ConnectionId, Engine, Limits, Peer, Process as ProcessId, Saved};

use crate::network::{Cargo, Micros, Wire};
use crate::process::{News, Process};
use crate::random::Random;

/// For how long things go wrong, and how long everybody has to finish afterwards.
const FAULTY: Micros = 6_000_000;
const CALM: Micros = 30_000_000;

pub(crate) struct World {
    now: Micros,
    random: Random,
    engine: Option<Engine>,
    up_at: Micros,
    disk: Saved,
    /// A snapshot that is being written, and when it will be there.
    writing: Option<(Micros, u64, Vec<u8>)>,
    processes: Vec<Process>,
    wires: Vec<Wire>,
    by_connection: HashMap<ConnectionId, usize>,
    /// Deaths that the daemon will see.
    deaths: Vec<(Micros, u32)>,
    next_fault: Micros,
    last_pid: u32,
    highest: HashMap<String, u64>,
    pub(crate) entered: u64,
    pub(crate) faults: Faults,
    pub(crate) log: VecDeque<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    cuts: u64,
    kills: u64,
    freezes: u64,
    crashes: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.freezes += other.freezes;
        self.crashes += other.crashes;
    }

    /// A simulation that breaks nothing proves nothing.
    pub(crate) fn check_floor(&self) {
        let all = [self.cuts, self.kills, self.freezes, self.crashes];
        assert!(all.iter().all(|count| *count > 500), "{self:?}");
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let processes = (1..=4)
            .map(|pid| Process::new(pid, 0, &mut random))
            .collect();
        Self {
            now: 0,
            random,
            engine: None,
            up_at: 0,
            disk: Saved::Nothing,
            writing: None,
            processes,
            wires: Vec::new(),
            by_connection: HashMap::new(),
            deaths: Vec::new(),
            next_fault: 50_000,
            last_pid: 4,
            highest: HashMap::new(),
            entered: 0,
            faults: Faults::default(),
            log: VecDeque::new(),
        }
    }

    fn note(&mut self, line: String) {
        if self.log.len() == 60 {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} µs: {line}", self.now));
    }

    pub(crate) fn run(&mut self) {
        let mut steps_here = 0;
        while self.now < FAULTY + CALM {
            let next = self.next_event();
            if next == Micros::MAX {
                break;
            }
            steps_here = if next > self.now { 0 } else { steps_here + 1 };
            assert!(steps_here < 10_000, "time stands still");
            self.now = self.now.max(next);
            self.step();
            let is_over = self.now > FAULTY && self.processes.iter().all(Process::is_idle);
            if is_over && self.engine.is_some() && self.now > FAULTY + 2_000_000 {
                break;
            }
        }
        for process in &self.processes {
            let states: Vec<_> = process.tasks.iter().map(|task| &task.state).collect();
            assert!(process.is_idle(), "{} is stuck: {states:?}", process.pid);
        }
        let engine = self.engine.as_mut().expect("the daemon is up");
        let list = b"{\"list\":{\"id\":1}}\n";
        let peer = Peer {
            uid: 0,
            pid: 0,
            process: None,
        };
        let now = at(self.now + 1_000_000);
        engine.advance(now);
        let id = engine.connect(now, peer);
        engine.received(now, id, b"{\"hello\":{\"version\":1}}\n");
        engine.received(now, id, list);
        let said = String::from_utf8_lossy(engine.output(id)).into_owned();
        assert!(said.contains(r#""locks":[]"#), "something is left: {said}");
    }

    fn next_event(&self) -> Micros {
        let mut next = Micros::MAX;
        if let Some(engine) = &self.engine {
            let look = engine.next_look().map(|at| at.since_start());
            // Rounded up: a look that comes too early would come for ever.
            let look = look.map(|at| at.as_nanos().div_ceil(1000) as Micros);
            next = next.min(look.map_or(Micros::MAX, |look| look.saturating_sub(START)));
        } else {
            next = next.min(self.up_at);
        }
        if let Some((at, ..)) = self.writing.as_ref().filter(|_| self.engine.is_some()) {
            next = next.min(*at);
        }
        for (at, _) in self.deaths.iter().filter(|_| self.engine.is_some()) {
            next = next.min(*at);
        }
        if self.now < FAULTY {
            next = next.min(self.next_fault);
        }
        for process in self.processes.iter().filter(|process| process.is_alive) {
            next = next.min(process.next_act());
        }
        for wire in &self.wires {
            if let Some((at, _)) = wire.to_daemon.under_way.front()
                && self.engine.is_some()
            {
                next = next.min(*at);
            }
            if let Some((at, _)) = wire.to_process.under_way.front()
                && let Some(process) = self.processes.get(wire.process)
            {
                next = next.min((*at).max(process.frozen_until));
            }
        }
        next
    }

    fn step(&mut self) {
        if self.engine.is_none() && self.up_at <= self.now {
            self.start_daemon();
        }
        if self.now < FAULTY && self.next_fault <= self.now {
            self.fault();
        }
        self.write_disk();
        self.see_deaths();
        self.let_time_pass();
        // In an order of chance: connections overtake each other.
        let count = self.wires.len();
        let first = if count == 0 {
            0
        } else {
            self.random.below(count as u64) as usize
        };
        for offset in 0..count {
            self.deliver((first + offset) % count);
        }
        for index in 0..self.processes.len() {
            self.let_act(index);
        }
        self.flush();
        if self.wires.len() > 64 {
            self.forget_dead_wires();
        }
    }

    fn start_daemon(&mut self) {
        let limits = Limits::default();
        let wall = UNIX_EPOCH + Duration::from_micros(self.now);
        let engine = Engine::new(limits, &self.disk, "boot", at(self.now), wall);
        let mut engine = engine.expect("it reads what it wrote");
        for process in engine.processes_to_watch() {
            let lives = |p: &Process| p.is_alive && p.pid == process.pid;
            if !self.processes.iter().any(lives) {
                engine.process_died(at(self.now), process);
            }
        }
        self.engine = Some(engine);
        self.note("the daemon is up".to_owned());
    }

    fn fault(&mut self) {
        self.next_fault = self.now + self.random.below(120_000);
        let victim = self.random.below(self.processes.len() as u64) as usize;
        match self.random.below(8) {
            0..3 => {
                if let Some(wire) = self.processes[victim].wire {
                    self.faults.cuts += 1;
                    self.note(format!("cut of process {victim}"));
                    self.cut(wire);
                }
            }
            3..5 => {
                self.faults.freezes += 1;
                let length = self.random.below(900_000);
                self.processes[victim].frozen_until = self.now + length;
                self.note(format!("process {victim} stands still for {length}"));
            }
            5 | 6 => self.kill(victim),
            _ => self.crash(),
        }
    }

    /// Each side sees the end when everything before it has arrived, or at once.
    fn cut(&mut self, wire: usize) {
        let arrives = self.now + self.random.below(5_000);
        let loses = self.random.once_in(2);
        let wire = &mut self.wires[wire];
        if loses {
            let is_end = |(_, cargo): &(Micros, Cargo)| matches!(cargo, Cargo::End);
            wire.to_process.under_way.retain(is_end);
        }
        wire.to_process.send(arrives, Cargo::End);
        wire.to_daemon.send(arrives + 3_000, Cargo::End);
    }

    fn kill(&mut self, index: usize) {
        self.faults.kills += 1;
        self.note(format!("process {index} is killed"));
        let process = &mut self.processes[index];
        process.is_alive = false;
        let sees = self.now + self.random.below(2_000);
        self.deaths.push((sees, self.processes[index].pid));
        if let Some(wire) = self.processes[index].wire {
            let arrives = self.now + self.random.below(2_000);
            self.wires[wire].to_daemon.send(arrives, Cargo::End);
        }
        // What it believes ends with it. Another takes its place.
        self.last_pid += 1;
        let successor = Process::new(self.last_pid, self.now, &mut self.random);
        self.processes[index] = successor;
        for wire in &mut self.wires {
            if wire.process == index {
                wire.to_process = Default::default();
                wire.process = usize::MAX;
            }
        }
    }

    fn crash(&mut self) {
        if self.engine.take().is_none() {
            return;
        }
        self.faults.crashes += 1;
        self.note("the daemon crashes".to_owned());
        if self.random.once_in(2) {
            self.writing = None;
        } else if let Some((_, _, text)) = self.writing.take() {
            self.disk = Saved::Text(text);
        }
        self.deaths.clear();
        self.by_connection.clear();
        self.up_at = self.now + self.random.below(200_000);
        let arrives = self.now + self.random.below(1_000);
        for wire in &mut self.wires {
            wire.daemon = None;
            wire.to_daemon = Default::default();
            wire.to_daemon.send(0, Cargo::End);
            wire.to_daemon.under_way.clear();
            wire.to_process.send(arrives, Cargo::End);
        }
    }

    fn write_disk(&mut self) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        if let Some((_, number, text)) = self.writing.take_if(|(at, ..)| *at <= self.now) {
            self.disk = Saved::Text(text);
            engine.saved(at(self.now), number);
        }
        if self.writing.is_none()
            && let Some(snapshot) = engine.snapshot(at(self.now))
        {
            let arrives = self.now + self.random.below(8_000);
            self.writing = Some((arrives, snapshot.number, snapshot.text));
        }
    }

    fn see_deaths(&mut self) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let now = self.now;
        for (_, pid) in self.deaths.extract_if(.., |(at, _)| *at <= now) {
            engine.process_died(at(now), ProcessId { pid, started: 1 });
        }
    }

    fn let_time_pass(&mut self) {
        if let Some(engine) = &mut self.engine
            && engine.next_look().is_some_and(|look| look <= at(self.now))
        {
            engine.advance(at(self.now));
        }
    }

    fn deliver(&mut self, index: usize) {
        while let Some(engine) = &mut self.engine
            && let Some(cargo) = self.wires[index].to_daemon.arrived(self.now)
        {
            let wire = &mut self.wires[index];
            match (cargo, wire.daemon) {
                (Cargo::Bytes(bytes), Some(id)) => engine.received(at(self.now), id, &bytes),
                (Cargo::End, Some(id)) => {
                    engine.disconnected(at(self.now), id);
                    self.by_connection.remove(&id);
                    wire.daemon = None;
                }
                (_, None) => {}
            }
        }
        let process = self.wires[index].process;
        while self
            .processes
            .get(process)
            .is_some_and(|p| p.frozen_until <= self.now)
            && let Some(cargo) = self.wires[index].to_process.arrived(self.now)
        {
            if self.processes[process].wire != Some(index) {
                continue;
            }
            match cargo {
                Cargo::Bytes(bytes) => {
                    // Whoever stood still looks at its clock before it goes on.
                    self.processes[process].act(self.now, self.now > FAULTY, &mut self.random);
                    let heard =
                        self.processes[process].received(self.now, &bytes, &mut self.random);
                    heard.into_iter().for_each(|news| self.judge(process, news));
                    self.send(process);
                }
                Cargo::End => {
                    self.processes[process].disconnected(self.now, &mut self.random);
                    let arrives = self.now + self.random.below(2_000);
                    self.wires[index].to_daemon.send(arrives, Cargo::End);
                }
            }
        }
    }

    fn judge(&mut self, process: usize, News::Entered { name, token, until }: News) {
        self.entered += 1;
        self.note(format!(
            "process {process} enters {name} with {token} until {until}"
        ));
        for (other, believer) in self.processes.iter().enumerate() {
            if other != process
                && let Some(until) = believer.believes(&name).filter(|until| *until > self.now)
            {
                panic!("{process} enters {name}, which {other} believes to hold until {until}");
            }
        }
        let held_twice = self.processes[process].tasks.iter().filter(|task| {
            matches!(&task.state, crate::process::State::Holding { lock, believes_until, .. }
                if lock.name == name && *believes_until > self.now)
        });
        assert_eq!(held_twice.count(), 1, "{process} is in {name} twice");
        let highest = self.highest.entry(name.clone()).or_default();
        assert!(token > *highest, "{name}: {token} after {highest}");
        *highest = token;
    }

    fn let_act(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if !process.is_alive || process.frozen_until > self.now {
            return;
        }
        if process.wire.is_none() && process.connect_at <= self.now {
            self.connect(index);
        }
        let process = &mut self.processes[index];
        process.act(self.now, self.now > FAULTY, &mut self.random);
        self.send(index);
    }

    fn connect(&mut self, index: usize) {
        let Some(engine) = &mut self.engine else {
            self.processes[index].connect_at = self.now + 1_000 + self.random.below(50_000);
            return;
        };
        let pid = self.processes[index].pid;
        let peer = Peer {
            uid: 1000,
            pid,
            process: Some(ProcessId { pid, started: 1 }),
        };
        let id = engine.connect(at(self.now), peer);
        self.by_connection.insert(id, self.wires.len());
        self.processes[index].wire = Some(self.wires.len());
        self.wires.push(Wire {
            daemon: Some(id),
            process: index,
            ..Wire::default()
        });
        self.processes[index].connected(self.now);
    }

    /// Puts what a process has to say on its way, in one piece or in several.
    fn send(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let said = std::mem::take(&mut process.out);
        let Some(wire) = process.wire else {
            return;
        };
        let mut bytes: Vec<u8> = Vec::new();
        for message in said {
            bytes.extend(format!("{message}\n").into_bytes());
        }
        while !bytes.is_empty() {
            let length = if self.random.once_in(4) {
                1 + self.random.below(bytes.len() as u64) as usize
            } else {
                bytes.len()
            };
            let rest = bytes.split_off(length);
            let arrives = self.now + self.latency();
            self.wires[wire]
                .to_daemon
                .send(arrives, Cargo::Bytes(bytes));
            bytes = rest;
        }
    }

    fn latency(&mut self) -> Micros {
        if self.random.once_in(50) {
            self.random.below(400_000)
        } else {
            10 + self.random.below(500)
        }
    }

    /// Puts what the daemon has to say on its way.
    fn flush(&mut self) {
        while let Some(engine) = &mut self.engine
            && let Some(id) = engine.woken()
        {
            let bytes = engine.output(id).to_vec();
            engine.written(id, bytes.len());
            let is_closed = engine.is_closing(id) && engine.output(id).is_empty();
            let latency = self.latency();
            let arrives = self.now + latency;
            let Some(wire) = self.by_connection.get(&id).copied() else {
                continue;
            };
            let lane = &mut self.wires[wire].to_process;
            if !bytes.is_empty() {
                lane.send(arrives, Cargo::Bytes(bytes));
            }
            if is_closed {
                lane.send(arrives, Cargo::End);
                self.wires[wire].daemon = None;
                self.by_connection.remove(&id);
                if let Some(engine) = &mut self.engine {
                    engine.disconnected(at(self.now), id);
                }
            }
        }
        self.write_disk();
    }

    /// Numbers of wires stay; what is over is emptied.
    fn forget_dead_wires(&mut self) {
        for wire in &mut self.wires {
            if wire.daemon.is_none() {
                wire.to_daemon.under_way.clear();
            }
        }
    }
}

/// Where the daemon's clock stands when the simulation begins, in microseconds.
const START: Micros = 1_000_000_000;

fn at(now: Micros) -> Moment {
    moment((START + now) * 1000)
}
