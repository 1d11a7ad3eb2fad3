//! The assembly means the same to a second assembler: LLVM's truncates an offset that does not fit its field without a word,
//! GNU's refuses it. Needs the thumb targets and `arm-none-eabi-as`; writes into a temporary directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use host_trainer::device::emulate::Machine;
use host_trainer::device::firmware::{self, Build, Inputs, Program};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

use crate::emulator::prepare;

/// The second assembler.
const ASSEMBLER: &str = "arm-none-eabi-as";
/// In the order in which `kernels/assembly.rs` includes them.
const FILES: [&str; 16] = [
    "kernels/function",
    "kernels/products",
    "kernels/winograd5/cortex_m_dsp/transform",
    "kernels/winograd5/cortex_m_dsp/inverse",
    "kernels/winograd5/cortex_m_dsp/conv1",
    "kernels/winograd5/cortex_m_dsp/conv2",
    "kernels/linear/cortex_m_dsp/linear",
    "kernels/conv/cortex_m/dsp",
    "kernels/conv/cortex_m/conv",
    "kernels/tiles/cortex_m_dsp/strip",
    "kernels/winograd3/cortex_m_dsp/winograd3",
    "kernels/polyphase3/cortex_m_dsp/polyphase3",
    "kernels/pointwise/cortex_m_dsp/pointwise",
    "kernels/depthwise3/cortex_m_dsp/depthwise3",
    "small/cortex_m_dsp/small_conv1",
    "small/cortex_m_dsp/small",
];
/// What the name of every function of the assembly begins with.
const PREFIX: &str = "bn_lenet_";

/// A function: its code, with nothing where it calls another; the places of these calls, and whom.
#[derive(Debug, PartialEq)]
struct Function {
    code: Vec<u8>,
    calls: Vec<(usize, String)>,
}

/// What GNU's assembler makes of the files, by name.
fn assembled(cpu: &str) -> BTreeMap<String, Function> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = firmware::workspace_root().expect("the workspace").join("bn-core/src");
    let text = |name| fs::read_to_string(source.join(name).with_extension("s")).expect("a file of assembly");
    let (input, output) = (directory.path().join("all.s"), directory.path().join("all.o"));
    fs::write(&input, format!(".syntax unified\n.thumb\n{}", FILES.map(text).concat())).expect("a temporary file");
    let run = Command::new(ASSEMBLER).arg(format!("-mcpu={cpu}")).arg("-o").args([&output, &input]).output();
    let run = run.expect("the assembler runs");
    let words = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && words.is_empty(), "{ASSEMBLER} for {cpu}: {words}");
    let bytes = fs::read(&output).expect("an object file");
    let file = object::File::parse(&*bytes).expect("an object file");
    let sections = file.sections().filter_map(|section| {
        let name = section.name().ok()?.strip_prefix(".text.")?.to_owned();
        let mut code = section.data().expect("code").to_vec();
        let calls = section.relocations().map(|(at, relocation)| {
            let RelocationTarget::Symbol(symbol) = relocation.target() else { panic!("{name} calls no symbol") };
            let symbol = file.symbol_by_index(symbol).expect("a symbol");
            (at as usize, symbol.name().expect("a name").to_owned())
        });
        let calls: Vec<_> = calls.collect();
        calls.iter().for_each(|&(at, _)| code[at..at + CALL].fill(0));
        Some((name, Function { code, calls }))
    });
    sections.collect()
}

/// Bytes of a call.
const CALL: usize = 4;

/// How far from the instruction behind it a call goes. Encoding: Arm v7-M Architecture Reference Manual, BL, T1.
fn reach(call: &[u8]) -> i32 {
    let half = |at: usize| u32::from(u16::from_le_bytes([call[at], call[at + 1]]));
    let (first, second) = (half(0), half(2));
    let sign = first >> 10 & 1;
    let [i1, i2] = [second >> 13, second >> 11].map(|bit| !(bit ^ sign) & 1);
    let reach = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1;
    (reach << 7) as i32 >> 7
}

/// As linked into a program of the firmware, by name, with the calls of another's functions.
fn linked(elf: &Path, other: &BTreeMap<String, Function>) -> BTreeMap<String, Function> {
    let bytes = fs::read(elf).expect("an ELF");
    let file = object::File::parse(&*bytes).expect("an ELF");
    // Bit 0 of a function's address says that it is Thumb.
    let functions = file.symbols().filter(|symbol| symbol.size() > 0).filter_map(|symbol| {
        let name = symbol.name().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, symbol.address() & !1, symbol.size(), symbol.section_index()?))
    });
    let functions: Vec<_> = functions.collect();
    let code = |&(name, address, size, section): &(&str, u64, u64, _)| {
        let section = file.section_by_index(section).expect("the symbol's section");
        let mut code = section.data_range(address, size).expect("code").expect("in the section").to_vec();
        let places = other.get(name).into_iter().flat_map(|other| &other.calls).map(|&(at, _)| at);
        let calls = places.map(|at| {
            let target = (address + (at + CALL) as u64).wrapping_add_signed(reach(&code[at..at + CALL]).into());
            code[at..at + CALL].fill(0);
            let callee = functions.iter().find(|(_, address, ..)| *address == target);
            (at, callee.map_or_else(String::new, |(name, ..)| (*name).to_owned()))
        });
        let calls = calls.collect();
        (name.to_owned(), Function { code, calls })
    };
    functions.iter().map(code).collect()
}

#[test]
#[cfg_attr(
    not(all(emulators, gnu_arm_as)),
    ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them; needs arm-none-eabi-as: apt-get install binutils-arm-none-eabi"
)]
fn two_assemblers_make_the_same_code() {
    prepare(Machine::default());
    // `layers` has every family of any shape.
    let programs =
        [(Build::Default, Program::Evaluate), (Build::Small, Program::Evaluate), (Build::Default, Program::Layers)];
    for (machine, cpu) in [(Machine::Mps2An386, "cortex-m4"), (Machine::Mps2An505, "cortex-m33")] {
        let second = assembled(cpu);
        let mut seen = BTreeSet::new();
        for (build, program) in programs {
            let inputs = Inputs { machine, build, ..Inputs::default() };
            let firmware = firmware::build_programs(&inputs, &[program]).expect("the firmware builds");
            for (name, first) in linked(&firmware.elf(program), &second) {
                assert!(second.get(&name) == Some(&first), "{name} for {cpu} is other code to {ASSEMBLER}");
                seen.insert(name);
            }
        }
        assert!(second.keys().eq(&seen), "{cpu}: compared {seen:?}");
    }
}
