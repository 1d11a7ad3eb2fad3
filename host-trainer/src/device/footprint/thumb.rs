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
    let to = |offset: i64| Effect::Jump(address.wrapping_add_signed(4 + offset));
    match code {
        // PUSH with LR in bit 8.
        0xB400..=0xB5FF => Effect::Push(4 * (code & 0x1FF).count_ones()),
        // SUB SP, SP, #imm7 * 4.
        0xB080..=0xB0FF => Effect::Push(4 * u32::from(code & 0x7F)),
        // B with a condition (the two highest are UDF and SVC), B, CBZ and CBNZ.
        0xD000..=0xDDFF => to(i64::from(code as i8) * 2),
        0xE000..=0xE7FF => to(i64::from((code << 5) as i16 >> 4)),
        _ if code & 0xF500 == 0xB100 => to(i64::from((code >> 3 & 0x1F) << 1 | (code >> 9 & 1) << 6)),
        // ADD SP, register and MOV SP, register.
        _ if code & 0xFF87 == 0x4485 || code & 0xFF87 == 0x4685 => Effect::Unbounded("a frame of computed size"),
        // BX of anything but LR, BLX, ADD PC, MOV PC.
        _ if code & 0xFF00 == 0x4700 && code != 0x4770 => Effect::Unbounded("a call through a register"),
        _ if code & 0xFF87 == 0x4487 || code & 0xFF87 == 0x4687 => Effect::Unbounded("a jump through a register"),
        _ => Effect::None,
    }
}

fn wide(first: u16, second: u16, address: u64) -> Effect {
    match (first, second) {
        // BL and B without a condition.
        (0xF000..=0xF7FF, _) if second & 0x9000 == 0x9000 => {
            Effect::Jump(address.wrapping_add_signed(4 + far(first, second)))
        }
        // B with a condition.
        (0xF000..=0xF7FF, _) if second & 0xD000 == 0x8000 && first & 0x0380 != 0x0380 => {
            let [first, second] = [first, second].map(i64::from);
            let offset =
                (first & 0x3F) << 12 | (second & 0x7FF) << 1 | (second >> 13 & 1) << 18 | (second >> 11 & 1) << 19;
            Effect::Jump(address.wrapping_add_signed(4 + (offset - ((first >> 10 & 1) << 20))))
        }
        // PUSH.W.
        (0xE92D, _) => Effect::Push(4 * second.count_ones()),
        // STR to [SP, #-imm8]!, STRD to [SP, #-imm8 * 4]!, VPUSH.
        (0xF84D, _) if second & 0x0F00 == 0x0D00 => Effect::Push(u32::from(second & 0xFF)),
        (0xE96D, _) => Effect::Push(4 * u32::from(second & 0xFF)),
        (0xED2D | 0xED6D, _) => Effect::Push(4 * u32::from(second & 0xFF)),
        // SUB.W and SUBW SP, SP, #immediate.
        (0xF1AD | 0xF5AD, _) if second & 0x8F00 == 0x0D00 => Effect::Push(expand(immediate(first, second))),
        (0xF2AD | 0xF6AD, _) if second & 0x8F00 == 0x0D00 => Effect::Push(immediate(first, second)),
        // SUB.W SP, SP, register.
        (0xEBAD, _) if second & 0x0F00 == 0x0D00 => Effect::Unbounded("a frame of computed size"),
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
        let cases: [(&[u16], Effect); 20] = [
            (&[0xB5F0], Effect::Push(20)),                               // push {r4-r7, lr}
            (&[0xB097], Effect::Push(92)),                               // sub sp, #92
            (&[0xB017], Effect::None),                                   // add sp, #92
            (&[0xE92D, 0x4FF0], Effect::Push(36)),                       // stmdb sp!, {r4-r11, lr}
            (&[0xE8BD, 0x8FF0], Effect::None),                           // ldmia.w sp!, {r4-r11, pc}
            (&[0xF5AD, 0x7D96], Effect::Push(300)),                      // sub.w sp, sp, #300
            (&[0xF2AD, 0x4D0C], Effect::Push(1036)),                     // subw sp, sp, #1036
            (&[0xF84D, 0x8D04], Effect::Push(4)),                        // str r8, [sp, #-4]!
            (&[0xE96D, 0x4504], Effect::Push(16)),                       // strd r4, r5, [sp, #-16]!
            (&[0xED2D, 0x8B10], Effect::Push(64)),                       // vpush {d8-d15}
            (&[0x44B5], Effect::Unbounded("a frame of computed size")),  // add sp, r6
            (&[0x4780], Effect::Unbounded("a call through a register")), // blx r0
            (&[0x4770], Effect::None),                                   // bx lr
            (&[0x4687], Effect::Unbounded("a jump through a register")), // mov pc, r0
            (&[0xD0FE], Effect::Jump(0x1000)),                           // beq .
            (&[0xE7FE], Effect::Jump(0x1000)),                           // b .
            (&[0xB108], Effect::Jump(0x1006)),                           // cbz r0, .+6
            (&[0xF7FF, 0xFFFE], Effect::Jump(0x1000)),                   // bl .
            (&[0xF000, 0xB800], Effect::Jump(0x1004)),                   // b.w .+4
            (&[0xF43F, 0xAFFE], Effect::Jump(0x1000)),                   // beq.w .
        ];
        for (code, effect) in cases {
            assert_eq!(decode(code, 0x1000), (code.len(), effect), "{code:x?}");
        }
    }
}
