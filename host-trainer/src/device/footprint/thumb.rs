//! As much of the Thumb instruction set (Armv6-M to Armv8-M) as the stack and the calls of a function need. No I/O.
//!
//! Source: Arm v7-M and v8-M Architecture Reference Manuals, chapters on the T32 encoding.

use super::Effect;

/// The instruction at the beginning of `code`, which lies at `address`: its length in halfwords, and what it does.
pub(super) fn decode(code: &[u16], address: u64) -> (usize, Effect) {
    match *code {
        [first, second, ..] if first >= 0xE800 => (2, wide(first, second, address)),
        [first, ..] => (1, narrow(first, address)),
        [] => (1, Effect::None),
    }
}

fn narrow(code: u16, address: u64) -> Effect {
    let target = |offset: i64| address.wrapping_add_signed(4 + offset);
    let listed = |mask: u16| 4 * i64::from((code & mask).count_ones());
    match code {
        // PUSH with LR in bit 8, POP with PC there.
        0xB400..=0xB5FF => Effect::Stack(listed(0x1FF)),
        0xBC00..=0xBCFF => Effect::Stack(-listed(0x1FF)),
        0xBD00..=0xBDFF => Effect::Return(-listed(0x1FF)),
        // ADD and SUB SP, SP, #imm7 * 4.
        0xB000..=0xB07F => Effect::Stack(-4 * i64::from(code & 0x7F)),
        0xB080..=0xB0FF => Effect::Stack(4 * i64::from(code & 0x7F)),
        // B with a condition, UDF, B, CBZ and CBNZ.
        0xD000..=0xDDFF => Effect::Branch(target(i64::from(code as i8) * 2)),
        0xDE00..=0xDEFF => Effect::Stop,
        0xE000..=0xE7FF => Effect::Jump(target(i64::from((code << 5) as i16 >> 4))),
        _ if code & 0xF500 == 0xB100 => {
            Effect::Branch(target(i64::from((code >> 3 & 0x1F) << 1 | (code >> 9 & 1) << 6)))
        }
        // IT: the lowest one of the mask ends the block.
        0xBF00..=0xBFFF if code & 0xF != 0 => Effect::If(4 - (code & 0xF).trailing_zeros() as usize),
        // ADD SP, register and MOV SP, register.
        _ if code & 0xFF87 == 0x4485 || code & 0xFF87 == 0x4685 => Effect::Unbounded("a frame of computed size"),
        // BX of LR and of anything else, BLX, ADD PC, MOV PC.
        0x4770 => Effect::Return(0),
        _ if code & 0xFF00 == 0x4700 => Effect::Unbounded("a call through a register"),
        _ if code & 0xFF87 == 0x4487 || code & 0xFF87 == 0x4687 => Effect::Unbounded("a jump through a register"),
        _ => Effect::None,
    }
}

fn wide(first: u16, second: u16, address: u64) -> Effect {
    let small = i64::from(second & 0xFF);
    match (first, second) {
        // B without a condition, and BL.
        (0xF000..=0xF7FF, _) if second & 0xD000 == 0x9000 => {
            Effect::Jump(address.wrapping_add_signed(4 + far(first, second)))
        }
        (0xF000..=0xF7FF, _) if second & 0xD000 == 0xD000 => {
            Effect::Call(address.wrapping_add_signed(4 + far(first, second)))
        }
        // B with a condition.
        (0xF000..=0xF7FF, _) if second & 0xD000 == 0x8000 && first & 0x0380 != 0x0380 => {
            let [first, second] = [first, second].map(i64::from);
            let offset =
                (first & 0x3F) << 12 | (second & 0x7FF) << 1 | (second >> 13 & 1) << 18 | (second >> 11 & 1) << 19;
            Effect::Branch(address.wrapping_add_signed(4 + (offset - ((first >> 10 & 1) << 20))))
        }
        // PUSH.W, POP.W with PC in bit 15.
        (0xE92D, _) => Effect::Stack(4 * i64::from(second.count_ones())),
        (0xE8BD, 0x8000..) => Effect::Return(-4 * i64::from(second.count_ones())),
        (0xE8BD, _) => Effect::Stack(-4 * i64::from(second.count_ones())),
        // STR to [SP, #-imm8]!, STRD to [SP, #-imm8 * 4]!, VPUSH; the loads that undo them, with PC in the highest bits.
        (0xF84D, _) if second & 0x0F00 == 0x0D00 => Effect::Stack(small),
        (0xE96D | 0xED2D | 0xED6D, _) => Effect::Stack(4 * small),
        (0xF85D, 0xF000..) if second & 0x0F00 == 0x0B00 => Effect::Return(-small),
        (0xF85D, _) if second & 0x0F00 == 0x0B00 => Effect::Stack(-small),
        (0xE8FD | 0xECBD | 0xECFD, _) => Effect::Stack(-4 * small),
        // SUB.W, SUBW, ADD.W and ADDW SP, SP, #immediate.
        (0xF1AD | 0xF5AD, _) if second & 0x8F00 == 0x0D00 => Effect::Stack(expand(immediate(first, second)).into()),
        (0xF2AD | 0xF6AD, _) if second & 0x8F00 == 0x0D00 => Effect::Stack(immediate(first, second).into()),
        (0xF10D | 0xF50D, _) if second & 0x8F00 == 0x0D00 => {
            Effect::Stack(-i64::from(expand(immediate(first, second))))
        }
        (0xF20D | 0xF60D, _) if second & 0x8F00 == 0x0D00 => Effect::Stack(-i64::from(immediate(first, second))),
        // SUB.W SP, SP, register.
        (0xEBAD, _) if second & 0x0F00 == 0x0D00 => Effect::Unbounded("a frame of computed size"),
        // TBB and TBH of a table behind them; LDR PC from a place on the stack, and from elsewhere.
        (0xE8DF, 0xF000..=0xF00F) => Effect::Table(1),
        (0xE8DF, 0xF010..=0xF01F) => Effect::Table(2),
        (0xF8DD, 0xF000..) => Effect::Resume,
        (0xF850..=0xF85F | 0xF8D0..=0xF8DF, 0xF000..) => Effect::Unbounded("a jump through a register"),
        _ => Effect::None,
    }
}

/// Offset of BL and B.W: sign, two inverted bits, ten bits, eleven bits, in halfwords.
fn far(first: u16, second: u16) -> i64 {
    let [first, second] = [first, second].map(i64::from);
    let sign = first >> 10 & 1;
    let inverted = |bit: i64| 1 - ((second >> bit & 1) ^ sign);
    (first & 0x3FF) << 12 | (second & 0x7FF) << 1 | inverted(13) << 23 | inverted(11) << 22 | -(sign << 24)
}

fn immediate(first: u16, second: u16) -> u32 {
    u32::from(first >> 10 & 1) << 11 | u32::from(second >> 12 & 7) << 8 | u32::from(second & 0xFF)
}

/// A modified immediate: a byte, repeated or rotated.
fn expand(immediate: u32) -> u32 {
    let byte = immediate & 0xFF;
    match immediate >> 8 {
        0 => byte,
        1 => byte * 0x0001_0001,
        2 => byte * 0x0100_0100,
        3 => byte * 0x0101_0101,
        _ => (byte | 0x80).rotate_right(immediate >> 7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodings as GNU as and objdump give them.
    #[test]
    fn instructions_are_the_assemblers() {
        let cases: [(&[u16], Effect); 36] = [
            (&[0xB5F0], Effect::Stack(20)),                              // push {r4-r7, lr}
            (&[0xBC0C], Effect::Stack(-8)),                              // pop {r2, r3}
            (&[0xBDF0], Effect::Return(-20)),                            // pop {r4-r7, pc}
            (&[0xB097], Effect::Stack(92)),                              // sub sp, #92
            (&[0xB017], Effect::Stack(-92)),                             // add sp, #92
            (&[0xE92D, 0x4FF0], Effect::Stack(36)),                      // stmdb sp!, {r4-r11, lr}
            (&[0xE8BD, 0x8FF0], Effect::Return(-36)),                    // ldmia.w sp!, {r4-r11, pc}
            (&[0xE8BD, 0x4FF0], Effect::Stack(-36)),                     // ldmia.w sp!, {r4-r11, lr}
            (&[0xF5AD, 0x7D96], Effect::Stack(300)),                     // sub.w sp, sp, #300
            (&[0xF50D, 0x7D96], Effect::Stack(-300)),                    // add.w sp, sp, #300
            (&[0xF2AD, 0x4D0C], Effect::Stack(1036)),                    // subw sp, sp, #1036
            (&[0xF20D, 0x4D0C], Effect::Stack(-1036)),                   // addw sp, sp, #1036
            (&[0xF84D, 0x8D04], Effect::Stack(4)),                       // str r8, [sp, #-4]!
            (&[0xF85D, 0x8B04], Effect::Stack(-4)),                      // ldr r8, [sp], #4
            (&[0xF85D, 0xFB04], Effect::Return(-4)),                     // ldr pc, [sp], #4
            (&[0xF8DD, 0xF030], Effect::Resume),                         // ldr.w pc, [sp, #48]
            (&[0xE96D, 0x4504], Effect::Stack(16)),                      // strd r4, r5, [sp, #-16]!
            (&[0xE8FD, 0x4504], Effect::Stack(-16)),                     // ldrd r4, r5, [sp], #16
            (&[0xED2D, 0x8B10], Effect::Stack(64)),                      // vpush {d8-d15}
            (&[0xECBD, 0x8B10], Effect::Stack(-64)),                     // vpop {d8-d15}
            (&[0x44B5], Effect::Unbounded("a frame of computed size")),  // add sp, r6
            (&[0x4780], Effect::Unbounded("a call through a register")), // blx r0
            (&[0x4770], Effect::Return(0)),                              // bx lr
            (&[0x4687], Effect::Unbounded("a jump through a register")), // mov pc, r0
            (&[0xD0FE], Effect::Branch(0x1000)),                         // beq .
            (&[0xDE00], Effect::Stop),                                   // udf #0
            (&[0xE7FE], Effect::Jump(0x1000)),                           // b .
            (&[0xB108], Effect::Branch(0x1006)),                         // cbz r0, .+6
            (&[0xBF08], Effect::If(1)),                                  // it eq
            (&[0xBF15], Effect::If(4)),                                  // itete ne
            (&[0xBF00], Effect::None),                                   // nop
            (&[0xF7FF, 0xFFFE], Effect::Call(0x1000)),                   // bl .
            (&[0xF000, 0xB800], Effect::Jump(0x1004)),                   // b.w .+4
            (&[0xF43F, 0xAFFE], Effect::Branch(0x1000)),                 // beq.w .
            (&[0xE8DF, 0xF000], Effect::Table(1)),                       // tbb [pc, r0]
            (&[0xE8DF, 0xF012], Effect::Table(2)),                       // tbh [pc, r2, lsl #1]
        ];
        for (code, effect) in cases {
            assert_eq!(decode(code, 0x1000), (code.len(), effect), "{code:x?}");
        }
    }
}
