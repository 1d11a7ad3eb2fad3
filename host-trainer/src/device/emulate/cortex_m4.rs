//! A model of how many cycles a Cortex-M4 takes for a sequence of executed instructions. A model, not a measurement: memory
//! without wait states, no contention on the buses, no interrupts. No I/O.
//!
//! Source: Arm Cortex-M4 Technical Reference Manual (100166), table 3-1 and "Load/store timings" for the processor, table 7-1
//! for the floating-point unit. Where a figure depends on what the manual leaves to circumstances, such as the 1 to 3 cycles of
//! a pipeline refill, the model has the least and the most.

use std::ops::AddAssign;

use serde::Serialize;

/// The least and the most cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cycles {
    /// Every refill takes one cycle, every load that can be pipelined is.
    pub least: u64,
    /// Every refill takes three, nothing is pipelined, every address waits for the instruction before.
    pub most: u64,
}

const fn cycles(least: u64, most: u64) -> Cycles {
    Cycles { least, most }
}

impl AddAssign for Cycles {
    fn add_assign(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }
}

/// What decides how long an instruction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Moves, additions, shifts, saturation, and what is not named below.
    Arithmetic,
    /// Every multiplication, long and dual ones included.
    Multiply,
    /// SDIV and UDIV.
    Divide,
    /// IT, which may vanish into the instruction before it.
    Condition,
    /// One register; the address is relative to the program counter or not.
    Load { literal: bool },
    /// One register.
    Store,
    /// LDM, STM, PUSH, POP, LDRD, STRD and the floating-point unit's: so many words.
    Block { words: u64 },
    /// Any branch or call, taken or not.
    Branch,
    /// TBB and TBH.
    TableBranch,
    /// An operation of the floating-point unit on its registers.
    Float,
    /// VMLA, VFMA and their relatives.
    FloatMultiplyAdd,
    /// VDIV and VSQRT, beside which other instructions may go on.
    FloatDivide,
}

impl Kind {
    fn is_memory(self) -> bool {
        matches!(self, Kind::Load { .. } | Kind::Store | Kind::Block { .. })
    }

    /// Cycles of an instruction after which the program counter went on or jumped, and before which `previous` was executed.
    pub(super) fn cycles(self, jumped: bool, previous: Option<Self>) -> Cycles {
        let mut sum = match self {
            Kind::Arithmetic | Kind::Multiply | Kind::Branch => cycles(1, 1),
            Kind::Divide => cycles(2, 12),
            Kind::Condition => cycles(0, 1),
            Kind::Load { literal } => {
                let pipelined = matches!(previous, Some(Kind::Load { .. }));
                cycles(if pipelined { 1 } else { 2 }, if literal { 3 } else { 2 })
            }
            Kind::Store => cycles(1, 2),
            Kind::Block { words } => cycles(1 + words, 1 + words),
            Kind::TableBranch => cycles(2, 3),
            Kind::Float => cycles(1, 2),
            Kind::FloatMultiplyAdd => cycles(3, 4),
            Kind::FloatDivide => cycles(1, 15),
        };
        if jumped {
            sum += cycles(1, 3);
        }
        if self.is_memory() && previous.is_some_and(|previous| !previous.is_memory() && previous != Kind::Branch) {
            sum += cycles(0, 1);
        }
        sum
    }
}

/// Bytes of the instruction that begins with this halfword.
pub(super) fn length(first: u16) -> u32 {
    if first >= 0xE800 { 4 } else { 2 }
}

/// Which kind an instruction is; `second` counts only where the instruction has two halfwords.
///
/// Encodings: Arm v7-M Architecture Reference Manual, chapters A5 and A6.
pub(super) fn kind(first: u16, second: u16) -> Kind {
    if length(first) == 4 { wide(first, second) } else { narrow(first) }
}

fn narrow(code: u16) -> Kind {
    let registers = |mask: u16| Kind::Block { words: (code & mask).count_ones().into() };
    match code {
        0x4340..=0x437F => Kind::Multiply,
        0x4700..=0x47FF => Kind::Branch,
        0x4800..=0x4FFF => Kind::Load { literal: true },
        // Register offset: the three lowest operations store.
        0x5000..=0x55FF => Kind::Store,
        0x5600..=0x5FFF => Kind::Load { literal: false },
        0x6000..=0x9FFF if code & 0x0800 == 0 => Kind::Store,
        0x6000..=0x9FFF => Kind::Load { literal: false },
        // PUSH and POP, with LR or PC in bit 8.
        0xB400..=0xB5FF | 0xBC00..=0xBDFF => registers(0x1FF),
        0xB100..=0xB1FF | 0xB300..=0xB3FF | 0xB900..=0xB9FF | 0xBB00..=0xBBFF => Kind::Branch,
        0xBF00..=0xBFFF if code & 0xF != 0 => Kind::Condition,
        0xC000..=0xCFFF => registers(0xFF),
        0xD000..=0xE7FF => Kind::Branch,
        _ => Kind::Arithmetic,
    }
}

fn wide(first: u16, second: u16) -> Kind {
    match first {
        // LDM, STM and relatives; then pairs of registers, table branches, exclusive accesses.
        0xE800..=0xE9FF if first & 0x40 == 0 => Kind::Block { words: second.count_ones().into() },
        0xE8D0..=0xE8DF if second & 0xFFE0 == 0xF000 => Kind::TableBranch,
        0xE800..=0xE9FF => Kind::Block { words: 2 },
        // The floating-point unit: its loads and stores, moves of two registers, operations.
        0xEC40..=0xEC5F => Kind::Block { words: 1 },
        0xEC60..=0xEDFF => float_memory(first, second),
        0xEE00..=0xEEFF => float(first, second),
        0xF000..=0xF7FF if second & 0x8000 == 0 => Kind::Arithmetic,
        // Branches and BL; what else begins so are barriers and accesses to special registers.
        0xF000..=0xF7FF if second & 0x5000 != 0 || first & 0x0380 != 0x0380 => Kind::Branch,
        // PLD and its relatives load nothing: their target would be the program counter.
        0xF810..=0xF81F | 0xF890..=0xF89F | 0xF910..=0xF91F | 0xF990..=0xF99F if second >= 0xF000 => Kind::Arithmetic,
        0xF800..=0xF9FF if first & 0x10 == 0 => Kind::Store,
        0xF800..=0xF9FF => Kind::Load { literal: first & 0xF == 0xF },
        0xFB90..=0xFB9F | 0xFBB0..=0xFBBF => Kind::Divide,
        0xFB00..=0xFBFF => Kind::Multiply,
        _ => Kind::Arithmetic,
    }
}

/// VLDR and VSTR of one register, single or double, and VLDM, VSTM, VPUSH, VPOP of many.
fn float_memory(first: u16, second: u16) -> Kind {
    let single = first & 0x0120 == 0x0100;
    let words = if !single {
        u64::from(second & 0xFF)
    } else if second & 0x0100 != 0 {
        2
    } else {
        1
    };
    Kind::Block { words }
}

/// Operations on the floating-point unit's registers: `first` has the operation in bits 7, 5 and 4.
fn float(first: u16, second: u16) -> Kind {
    // Bit 4 of the second halfword: a move to or from a core register.
    if second & 0x10 != 0 {
        return Kind::Float;
    }
    match (first & 0xB0, second & 0x40 != 0) {
        // VMLA, VMLS; VNMLA, VNMLS; VFNMA, VFNMS; VFMA, VFMS.
        (0x00 | 0x10 | 0x90 | 0xA0, _) => Kind::FloatMultiplyAdd,
        (0x80, _) => Kind::FloatDivide,
        // VSQRT, among moves, comparisons and conversions.
        (0xB0, true) if first & 0xF == 1 && second & 0x80 != 0 => Kind::FloatDivide,
        _ => Kind::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodings as GNU as gives them.
    #[test]
    fn kinds_are_those_of_the_assemblers_instructions() {
        let (load, literal) = (Kind::Load { literal: false }, Kind::Load { literal: true });
        let block = |words| Kind::Block { words };
        let cases: [(&[u16], Kind); 47] = [
            (&[0x1888], Kind::Arithmetic),               // adds r0, r1, r2
            (&[0x4348], Kind::Multiply),                 // muls r0, r1
            (&[0x4770], Kind::Branch),                   // bx lr
            (&[0x4801], literal),                        // ldr r0, [pc, #4]
            (&[0x5088], Kind::Store),                    // str r0, [r1, r2]
            (&[0x5688], load),                           // ldrsb r0, [r1, r2]
            (&[0x5C88], load),                           // ldrb r0, [r1, r2]
            (&[0x6048], Kind::Store),                    // str r0, [r1, #4]
            (&[0x6848], load),                           // ldr r0, [r1, #4]
            (&[0x9801], load),                           // ldr r0, [sp, #4]
            (&[0xB5F0], block(5)),                       // push {r4-r7, lr}
            (&[0xBDF0], block(5)),                       // pop {r4-r7, pc}
            (&[0xB097], Kind::Arithmetic),               // sub sp, #92
            (&[0xB108], Kind::Branch),                   // cbz r0, .+6
            (&[0xBF08], Kind::Condition),                // it eq
            (&[0xBF00], Kind::Arithmetic),               // nop
            (&[0xC907], block(3)),                       // ldmia r1!, {r0-r2}
            (&[0xD0FE], Kind::Branch),                   // beq .
            (&[0xE7FE], Kind::Branch),                   // b .
            (&[0xE92D, 0x4FF0], block(9)),               // push {r4-r11, lr}
            (&[0xE8B1, 0x01FC], block(7)),               // ldmia.w r1!, {r2-r8}
            (&[0xE9D1, 0x2300], block(2)),               // ldrd r2, r3, [r1]
            (&[0xE8DF, 0xF000], Kind::TableBranch),      // tbb [pc, r0]
            (&[0xEB01, 0x0042], Kind::Arithmetic),       // add.w r0, r1, r2, lsl #1
            (&[0xED91, 0x0A00], block(1)),               // vldr s0, [r1]
            (&[0xED81, 0x0B00], block(2)),               // vstr d0, [r1]
            (&[0xED2D, 0x8B10], block(16)),              // vpush {d8-d15}
            (&[0xECB1, 0x0A04], block(4)),               // vldmia r1!, {s0-s3}
            (&[0xEE01, 0x0A02], Kind::FloatMultiplyAdd), // vmla.f32 s0, s2, s4
            (&[0xEEA1, 0x0A02], Kind::FloatMultiplyAdd), // vfma.f32 s0, s2, s4
            (&[0xEE21, 0x0A02], Kind::Float),            // vmul.f32 s0, s2, s4
            (&[0xEE31, 0x0A02], Kind::Float),            // vadd.f32 s0, s2, s4
            (&[0xEE81, 0x0A02], Kind::FloatDivide),      // vdiv.f32 s0, s2, s4
            (&[0xEEB1, 0x0AC1], Kind::FloatDivide),      // vsqrt.f32 s0, s2
            (&[0xEEB1, 0x0A41], Kind::Float),            // vneg.f32 s0, s2
            (&[0xEE00, 0x0A10], Kind::Float),            // vmov s0, r0
            (&[0xF241, 0x2034], Kind::Arithmetic),       // movw r0, #4660
            (&[0xF000, 0xF800], Kind::Branch),           // bl .+4
            (&[0xF43F, 0xAFFE], Kind::Branch),           // beq.w .
            (&[0xF3EF, 0x8010], Kind::Arithmetic),       // mrs r0, primask
            (&[0xF841, 0x0B04], Kind::Store),            // str r0, [r1], #4
            (&[0xF891, 0x0064], load),                   // ldrb.w r0, [r1, #100]
            (&[0xF8DF, 0x0004], literal),                // ldr.w r0, [pc, #4]
            (&[0xFA2F, 0xF081], Kind::Arithmetic),       // sxtb16 r0, r1
            (&[0xFB21, 0x3002], Kind::Multiply),         // smlad r0, r1, r2, r3
            (&[0xFBC1, 0x0302], Kind::Multiply),         // smlal r0, r3, r1, r2
            (&[0xFB91, 0xF0F2], Kind::Divide),           // sdiv r0, r1, r2
        ];
        for (code, expected) in cases {
            assert_eq!(length(code[0]), 2 * code.len() as u32, "{code:x?}");
            assert_eq!(kind(code[0], code.get(1).copied().unwrap_or(0)), expected, "{code:x?}");
        }
    }

    #[test]
    fn cycles_are_the_manuals() {
        let load = Kind::Load { literal: false };
        // LDR, LDR: three cycles in all when pipelined.
        assert_eq!(load.cycles(false, Some(Kind::Branch)), cycles(2, 2));
        assert_eq!(load.cycles(false, Some(load)), cycles(1, 2));
        // An address that waits for the addition before it.
        assert_eq!(load.cycles(false, Some(Kind::Arithmetic)), cycles(2, 3));
        // A branch that is taken, and one that is not; a return by POP.
        assert_eq!(Kind::Branch.cycles(true, None), cycles(2, 4));
        assert_eq!(Kind::Branch.cycles(false, None), cycles(1, 1));
        assert_eq!(Kind::Block { words: 3 }.cycles(true, None), cycles(5, 7));
    }
}
