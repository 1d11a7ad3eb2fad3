//! As much of the RISC-V instruction set (RV32IMC) as the stack and the calls of a function need. No I/O.
//!
//! Source: The RISC-V Instruction Set Manual, volume I, chapters "RV32I Base Integer Instruction Set" and "C".

use super::Effect;

/// The stack pointer's register.
const SP: u32 = 2;
/// The register of the address to return to.
const RA: u32 = 1;

/// The instruction at the beginning of `code`, which lies at `address`: its length in halfwords, and what it does.
pub(super) fn decode(code: &[u16], address: u64) -> (usize, Effect) {
    let word = |at: usize| Some(u32::from(*code.get(at)?) | u32::from(*code.get(at + 1)?) << 16);
    match (code.first(), word(0)) {
        (Some(&first), _) if first & 3 != 3 => (1, compressed(u32::from(first), address)),
        // A call or jump to anywhere is a pair: the upper bits of the distance into a register, then a jump through it.
        (_, Some(upper)) if upper & 0x7F == 0x17 => match word(2) {
            Some(jump) if jump & 0x707F == 0x67 && register(jump, 15) == register(upper, 7) => {
                let offset = i64::from((upper & 0xFFFF_F000) as i32) + i64::from(jump as i32 >> 20);
                (4, to(register(jump, 7), address, offset))
            }
            _ => (2, Effect::None),
        },
        (_, Some(first)) => (2, wide(first, address)),
        _ => (1, Effect::None),
    }
}

fn compressed(code: u32, address: u64) -> Effect {
    let field = |from: u32, bits: u32, to: u32| bits_at(code, from, bits, to);
    let rd = register(code, 7);
    match (code & 3, code >> 13) {
        // C.JAL and C.J.
        (1, 1 | 5) => {
            let offset = field(11, 1, 4) | field(9, 2, 8) | field(8, 1, 10) | field(7, 1, 6) | field(6, 1, 7);
            let offset = offset | field(3, 3, 1) | field(2, 1, 5) | field(12, 1, 11);
            to(if code >> 13 == 1 { RA } else { 0 }, address, signed(offset, 12))
        }
        // C.BEQZ and C.BNEZ.
        (1, 6 | 7) => {
            let offset = field(10, 2, 3) | field(5, 2, 6) | field(3, 2, 1) | field(2, 1, 5) | field(12, 1, 8);
            Effect::Branch(address.wrapping_add_signed(signed(offset, 9)))
        }
        // C.ADDI16SP.
        (1, 3) if rd == SP => {
            let amount = field(6, 1, 4) | field(5, 1, 6) | field(3, 2, 7) | field(2, 1, 5) | field(12, 1, 9);
            Effect::Stack(-signed(amount, 10))
        }
        // C.ADDI.
        (1, 0) if rd == SP => Effect::Stack(-signed(field(2, 5, 0) | field(12, 1, 5), 6)),
        // C.JR, C.JALR, C.MV and C.ADD; C.EBREAK has no register.
        (2, 4) => match (code >> 12 & 1, register(code, 2)) {
            (0, 0) if rd == RA => Effect::Return(0),
            (0, 0) => Effect::Unbounded("a jump through a register"),
            (_, 0) if rd != 0 => Effect::Unbounded("a call through a register"),
            (_, from) if rd == SP && from != 0 => Effect::Unbounded("a frame of computed size"),
            _ => Effect::None,
        },
        _ => Effect::None,
    }
}

fn wide(code: u32, address: u64) -> Effect {
    let field = |from: u32, bits: u32, to: u32| bits_at(code, from, bits, to);
    let (rd, rs1) = (register(code, 7), register(code, 15));
    match code & 0x7F {
        // JAL.
        0x6F => to(rd, address, signed(field(21, 10, 1) | field(20, 1, 11) | field(12, 8, 12) | field(31, 1, 20), 21)),
        // JALR.
        0x67 if (rd, rs1) == (0, RA) => Effect::Return(0),
        0x67 => Effect::Unbounded("a call through a register"),
        // Branches.
        0x63 => {
            let offset = field(8, 4, 1) | field(25, 6, 5) | field(7, 1, 11) | field(31, 1, 12);
            Effect::Branch(address.wrapping_add_signed(signed(offset, 13)))
        }
        // ADDI, then whatever else computes a stack pointer from registers and immediates.
        0x13 if code >> 12 & 7 == 0 && (rd, rs1) == (SP, SP) => Effect::Stack(-signed(code >> 20, 12)),
        0x13 | 0x33 | 0x37 if rd == SP => Effect::Unbounded("a frame of computed size"),
        _ => Effect::None,
    }
}

/// A jump that leaves the address behind it in a register: one of a register that is always zero does not come back.
fn to(link: u32, address: u64, offset: i64) -> Effect {
    let target = address.wrapping_add_signed(offset);
    if link == 0 { Effect::Jump(target) } else { Effect::Call(target) }
}

fn register(code: u32, at: u32) -> u32 {
    code >> at & 31
}

/// So many bits of `code` from bit `from` up, moved to bit `to`.
fn bits_at(code: u32, from: u32, bits: u32, to: u32) -> u32 {
    (code >> from & ((1 << bits) - 1)) << to
}

/// A two's complement number of so many bits.
fn signed(value: u32, bits: u32) -> i64 {
    i64::from((value << (32 - bits)) as i32 >> (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTED: Effect = Effect::Unbounded("a frame of computed size");
    const CALL: Effect = Effect::Unbounded("a call through a register");
    const JUMP: Effect = Effect::Unbounded("a jump through a register");

    /// Encodings, addresses and targets as LLVM's assembler and llvm-objdump give them.
    #[test]
    fn instructions_are_the_assemblers() {
        let cases: [(u64, &[u16], Effect); 27] = [
            (0x02, &[0x7139], Effect::Stack(64)),           // c.addi16sp sp, -64
            (0x04, &[0x7141], Effect::Stack(496)),          // c.addi16sp sp, -496
            (0x06, &[0x6125], Effect::Stack(-96)),          // c.addi16sp sp, 96
            (0x08, &[0x0113, 0x8101], Effect::Stack(2032)), // addi sp, sp, -2032
            (0x0C, &[0x0113, 0xFFC1], Effect::Stack(4)),    // addi sp, sp, -4
            (0x10, &[0x0113, 0xFC04], COMPUTED),            // addi sp, s0, -64
            (0x14, &[0x0133, 0x4051], COMPUTED),            // sub sp, sp, t0
            (0x18, &[0x7113, 0xFF01], COMPUTED),            // andi sp, sp, -16
            (0x1C, &[0x8067, 0x0000], Effect::Return(0)),   // ret
            (0x20, &[0x00EF, 0x0E00], Effect::Call(0x100)), // jal
            (0x24, &[0xA06F, 0x965F], Effect::Jump(0u64.wrapping_sub(0x5678))), // j
            (0x28, &[0x0CE3, 0xECB5], Effect::Branch(0u64.wrapping_sub(0x100))), // beq a0, a1
            (0x2C, &[0x7363, 0x7CB5], Effect::Branch(0x7F2)), // bgeu a0, a1
            (0x30, &[0x5097, 0x1234, 0x80E7, 0x6780], Effect::Call(0x1234_56A8)), // auipc ra; jalr ra
            (0x38, &[0xF317, 0xFFFF, 0x0067, 0xFFE3], Effect::Jump(0u64.wrapping_sub(0xFCA))), // auipc t1; jr t1
            (0x40, &[0x00E7, 0x0005], CALL),                // jalr a0
            (0x4C, &[0x8082], Effect::Return(0)),           // c.ret
            (0x4E, &[0x8782], JUMP),                        // c.jr a5
            (0x50, &[0x9782], CALL),                        // c.jalr a5
            (0x52, &[0x8122], COMPUTED),                    // c.mv sp, s0
            (0x54, &[0x9116], COMPUTED),                    // c.add sp, t0
            (0x56, &[0xB76D], Effect::Jump(0)),             // c.j
            (0x58, &[0xB265], Effect::Jump(0u64.wrapping_sub(0x600))), // c.j
            (0x5A, &[0x2EF5], Effect::Call(0x456)),         // c.jal
            (0x5E, &[0xE38D], Effect::Branch(0x80)),        // c.bnez a5
            (0x60, &[0x9002], Effect::None),                // c.ebreak
            (0x64, &[0x1101], Effect::Stack(32)),           // c.addi sp, -32
        ];
        for (address, code, effect) in cases {
            assert_eq!(decode(code, address), (code.len(), effect), "{code:x?}");
        }
        // An address that is computed is no jump.
        assert_eq!(decode(&[0x5517, 0x0000, 0x0513, 0x0035], 0x44), (2, Effect::None));
    }
}
