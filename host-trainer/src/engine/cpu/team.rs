//! A few threads that go through the same steps together.
//!
//! A training step is some ten short pieces of work with a meeting after each. Threads wait by spinning, as long as the others may
//! be just about to come: that costs about a microsecond where waking a thread costs tens. A thread that waits longer waits for
//! one that has no core, and sleeps: a core that it kept busy would be missing.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread spins before it sleeps: longer than work that is shared out evenly differs, shorter than a core is taken away
/// for.
const SPIN: Duration = Duration::from_micros(100);

/// Rounds of spinning between two looks at the clock.
const ROUNDS: usize = 50;

/// What the threads share: where they meet, and the next task of the current piece of work.
pub(super) struct Team {
    members: usize,
    arrived: AtomicUsize,
    meetings: AtomicUsize,
    next_task: AtomicUsize,
    broken: AtomicBool,
    /// Members that sleep, or are about to.
    asleep: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
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
            asleep: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
        }
    }

    /// Runs `work` on every member; the calling thread is one of them.
    ///
    /// # Panics
    /// If a member does: it breaks up the team, for nobody is to wait for a thread that never comes.
    pub(super) fn run(&self, work: impl Fn() + Sync) {
        let member = || {
            let guard = BreakOnPanic(self);
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
            self.meetings.store(meeting + 1, Ordering::SeqCst);
            self.wake();
            return;
        }
        if !self.spin(meeting) {
            self.sleep(meeting);
        }
        assert!(!self.broken.load(Ordering::SeqCst), "another thread of the engine panicked");
    }

    /// Whether a meeting is still to come to its end.
    fn is_on(&self, meeting: usize) -> bool {
        self.meetings.load(Ordering::SeqCst) == meeting && !self.broken.load(Ordering::SeqCst)
    }

    /// Waits for a short time; true if the meeting came to its end.
    fn spin(&self, meeting: usize) -> bool {
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..ROUNDS {
                if !self.is_on(meeting) {
                    return true;
                }
                spin_loop();
            }
        }
        false
    }

    /// Waits for as long as it takes. Who ends the meeting either sees that this member is about to sleep, and then waits for the
    /// lock to wake it, or is seen to have ended it.
    fn sleep(&self, meeting: usize) {
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while self.is_on(meeting) {
            bed = self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
            self.alarm.notify_all();
        }
    }
}

/// Dropped by unwinding alone.
struct BreakOnPanic<'a>(&'a Team);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        self.0.broken.store(true, Ordering::SeqCst);
        self.0.wake();
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
                if panicking.fetch_add(1, Ordering::Relaxed) == 0 {
                    // The others are asleep by then.
                    std::thread::sleep(2 * SPIN);
                    panic!("the first member");
                }
                team.meet(|| ());
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }

    #[test]
    fn sleepers_are_woken() {
        let team = Team::new(3);
        let late = AtomicUsize::new(0);
        team.run(|| {
            for round in 0..20_u32 {
                if late.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                    std::thread::sleep(SPIN + SPIN * (round % 3));
                }
                team.meet(|| ());
            }
        });
    }
}
