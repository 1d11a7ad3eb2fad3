//! Which counter a program takes, and what it counts. Decides; touches nothing, so the host can try it.

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Executed instructions.
    Instructions,
    /// Cycles of the processor's clock.
    Cycles,
}

impl Unit {
    /// For people, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Instructions => "instructions",
            Unit::Cycles => "cycles",
        }
    }
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// SysTick of an emulator, whose ticks a loop of known length turns into instructions.
    CalibratedSysTick,
    /// CYCCNT of the DWT unit: 32 bits of cycles.
    CycleCounter,
    /// SysTick on the core's clock: 24 bits of cycles.
    SysTick,
}

impl Choice {
    /// What it counts.
    pub fn unit(self) -> Unit {
        match self {
            Choice::CalibratedSysTick => Unit::Instructions,
            Choice::CycleCounter | Choice::SysTick => Unit::Cycles,
        }
    }
}

/// In an emulator instructions, whatever its cycle counter does: an emulated cycle is no cycle. On a chip cycles, by the
/// counter made for them where it moves: a core may lack it, and a debugger or a lock may stop it.
pub fn choose(emulated: bool, cycle_counter_runs: impl FnOnce() -> bool) -> Choice {
    if emulated {
        Choice::CalibratedSysTick
    } else if cycle_counter_runs() {
        Choice::CycleCounter
    } else {
        Choice::SysTick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_counts_instructions_and_is_not_asked_for_its_cycle_counter() {
        let choice = choose(true, || unreachable!("it stands still or lies"));
        assert_eq!((choice, choice.unit().name()), (Choice::CalibratedSysTick, "instructions"));
    }

    #[test]
    fn a_board_counts_cycles_with_what_runs() {
        assert_eq!(choose(false, || true), Choice::CycleCounter);
        assert_eq!(choose(false, || false), Choice::SysTick);
        for runs in [true, false] {
            assert_eq!(choose(false, || runs).unit().name(), "cycles");
        }
    }
}
