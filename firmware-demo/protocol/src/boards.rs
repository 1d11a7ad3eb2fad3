//! The boards that the firmware is built for, and which networks their memories hold.

/// A board, or what an emulator models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// The cargo feature that asks for it. `memory/` holds a map of that name, of all but its RAM.
    pub feature: &'static str,
    /// The compiler's name for its core begins with one of these.
    pub targets: &'static [&'static str],
    /// Where a program that is linked for it runs: on a board, in an emulator, or either.
    pub place: &'static str,
    /// Bytes of flash.
    pub flash: usize,
    /// Where its RAM begins.
    pub ram_start: usize,
    /// Bytes of RAM.
    pub ram: usize,
    /// Bytes of it that are the stack's unless a network wants them otherwise.
    pub stack: usize,
}

const KB: usize = 1024;

/// Every board.
#[rustfmt::skip] // a table: one board a line
pub const BOARDS: [Board; 9] = [
    board("stm32f405", &["thumbv7em"], "either", 1024, 0x2000_0000, 128, 64),
    board("nrf52840-dk", &["thumbv7em"], "board", 1024, 0x2000_0000, 256, 32),
    board("microbit-v2", &["thumbv7em"], "board", 512, 0x2000_0000, 128, 32),
    board("pico", &["thumbv6m"], "board", 2048, 0x2000_0000, 264, 32),
    board("pico-2", &["thumbv8m.main"], "board", 4096, 0x2000_0000, 520, 32),
    board("microbit", &["thumbv6m"], "emulator", 256, 0x2000_0000, 16, 12),
    board("mps2", &["thumbv6m", "thumbv7"], "emulator", 4096, 0x2000_0000, 4096, 64),
    board("mps2-secure", &["thumbv8m.main"], "emulator", 4096, 0x3800_0000, 4096, 64),
    board("riscv32-virt", &["riscv32imc"], "emulator", 4096, 0x8040_0000, 4096, 64),
];

const fn board(
    feature: &'static str,
    targets: &'static [&'static str],
    place: &'static str,
    flash: usize,
    ram_start: usize,
    ram: usize,
    stack: usize,
) -> Board {
    Board { feature, targets, place, flash: flash * KB, ram_start, ram: ram * KB, stack: stack * KB }
}

/// What the programs take of RAM beside the memory of an inference: the log's buffers.
const STATICS: usize = 2 * KB;
/// What they take of the stack beside inputs and outputs.
const FRAMES: usize = 6 * KB;
/// What they take of flash beside the model.
const CODE: usize = 64 * KB;
/// Most inputs that a program asks its host for at a time. One request costs far more than the bytes it brings.
const MOST_INPUTS: usize = 16;
/// The linker counts stack and statics in such pieces.
const PIECE: usize = 256;

/// What a network takes of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of the model in flash.
    pub model: usize,
    /// Bytes of the memory of an inference.
    pub arena: usize,
    /// Bytes of an input.
    pub input: usize,
    /// Values of the output.
    pub outputs: usize,
    /// Steps of the plan.
    pub steps: usize,
}

/// How a board's RAM is shared out to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Bytes of the stack, which lies at the bottom.
    pub stack: usize,
    /// Bytes of everything else.
    pub statics: usize,
    /// Inputs that a program asks its host for at a time.
    pub inputs: usize,
}

impl Needs {
    /// Bytes of flash.
    pub const fn flash(&self) -> usize {
        self.model + CODE
    }

    /// Bytes of RAM.
    pub const fn ram(&self) -> usize {
        self.statics() + self.stack()
    }

    const fn statics(&self) -> usize {
        (self.arena + STATICS).next_multiple_of(PIECE)
    }

    /// With one input and a copy of it, and with the output on its way through some functions.
    const fn stack(&self) -> usize {
        (FRAMES + 4 * 4 * self.outputs + self.input + self.input_and_record()).next_multiple_of(PIECE)
    }

    /// An input, and what is written about it.
    const fn input_and_record(&self) -> usize {
        self.input + 4 * (1 + self.outputs + self.steps)
    }
}

impl Board {
    /// How its RAM is shared out to a network; `None` where the board is too small.
    pub fn shares(&self, needs: &Needs) -> Option<Shares> {
        if needs.ram() > self.ram || needs.flash() > self.flash {
            return None;
        }
        let stack = self.stack.clamp(needs.stack(), self.ram - needs.statics());
        let more = (stack - needs.stack()) / needs.input_and_record();
        Some(Shares { stack, statics: self.ram - stack, inputs: MOST_INPUTS.min(1 + more) })
    }

    /// Whether the compiler's `target` is its core.
    pub fn has_core(&self, target: &str) -> bool {
        self.targets.iter().any(|begin| target.starts_with(begin))
    }
}

/// The board of that cargo feature.
pub fn named(feature: &str) -> Option<&'static Board> {
    BOARDS.iter().find(|board| board.feature == feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENET: Needs = Needs { model: 56_204, arena: 3_776, input: 784, outputs: 10, steps: 5 };
    const LARGE: Needs = Needs { model: 230_000, arena: 104_000, input: 27_648, outputs: 2, steps: 30 };

    #[test]
    fn a_small_network_leaves_the_shares_as_they_are() {
        for board in BOARDS.iter().filter(|board| board.feature != "microbit") {
            let shares = board.shares(&LENET).unwrap();
            assert_eq!((shares.stack, shares.inputs), (board.stack, 16), "{}", board.feature);
        }
        let shares = named("microbit").unwrap().shares(&LENET).unwrap();
        assert_eq!((shares.stack + shares.statics, shares.inputs), (16 * 1024, 4));
    }

    #[test]
    fn a_large_network_is_refused_by_small_boards_alone() {
        let fits = BOARDS.iter().filter(|board| board.shares(&LARGE).is_some()).map(|board| board.feature);
        assert!(fits.eq(["nrf52840-dk", "pico", "pico-2", "mps2", "mps2-secure", "riscv32-virt"]));
        let shares = named("nrf52840-dk").unwrap().shares(&LARGE).unwrap();
        assert!(shares.stack > 27_648 && shares.statics > 104_000 && shares.inputs == 1, "{shares:?}");
    }
}
