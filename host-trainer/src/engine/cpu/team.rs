//! A few threads that go through the same steps together.
//!
//! A training step is some eight short pieces of work with a meeting after each, so threads wait by spinning: a meeting
//! costs about a microsecond where waking a thread would cost tens.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Rounds of spinning before a waiting thread offers its core to others.
const SPINS: usize = 2000;

/// What the threads share: where they meet, and the next task of the current piece of work.
pub(super) struct Team {
    members: usize,
    arrived: AtomicUsize,
    meetings: AtomicUsize,
    next_task: AtomicUsize,
    broken: AtomicBool,
}

impl Team {
    /// A team of that many threads.
    pub(super) fn new(members: usize) -> Self {
        Self {
            members,
            arrived: AtomicUsize::new(0),
            meetings: AtomicUsize::new(0),
            next_task: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Runs `work` on every member; the calling thread is one of them.
    ///
    /// # Panics
    /// If a member does: it breaks up the team, for nobody is to wait for a thread that never comes.
    pub(super) fn run(&self, work: impl Fn() + Sync) {
        let member = || {
            let guard = BreakOnPanic(&self.broken);
            work();
            std::mem::forget(guard);
        };
        std::thread::scope(|scope| {
            for _ in 1..self.members {
                scope.spawn(member);
            }
            member();
        });
    }

    /// Hands out the numbers below `tasks`, each to one member, whoever comes first. Which member does a task must not
    /// show in any result.
    pub(super) fn share(&self, tasks: usize, mut work: impl FnMut(usize)) {
        loop {
            let task = self.next_task.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            work(task);
        }
    }

    /// Waits for all members. The last to arrive runs `close` before any goes on.
    pub(super) fn meet(&self, close: impl FnOnce()) {
        let meeting = self.meetings.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            close();
            self.arrived.store(0, Ordering::Relaxed);
            self.next_task.store(0, Ordering::Relaxed);
            self.meetings.store(meeting + 1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.meetings.load(Ordering::Acquire) == meeting {
            assert!(!self.broken.load(Ordering::Relaxed), "another thread of the engine panicked");
            spins += 1;
            if spins < SPINS {
                spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Dropped by unwinding alone.
struct BreakOnPanic<'a>(&'a AtomicBool);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn every_task_is_done_once_and_before_the_meeting_closes() {
        let team = Team::new(3);
        let done: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        team.run(|| {
            for round in 1..50 {
                team.share(done.len(), |task| {
                    done[task].fetch_add(1, Ordering::Relaxed);
                });
                team.meet(|| assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == round)));
            }
        });
    }

    #[test]
    fn a_panic_does_not_leave_the_others_waiting() {
        let team = Team::new(2);
        let panicking = AtomicUsize::new(0);
        let run = || {
            team.run(|| {
                assert!(panicking.fetch_add(1, Ordering::Relaxed) > 0, "the first member");
                team.meet(|| ());
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
