//! What a function of a Thumb or RISC-V ELF takes of the chip, itself and all that it calls: bytes of code, and the deepest stack that
//! any path through the calls can reach. Read from the machine code, so it holds for assembly as for Rust. Reads one file.
//!
//! A function's frame is the sum of all its instructions that move the stack pointer down, wherever they stand: no path
//! through a function takes more, if a loop gives back what it takes. Recursion, calls through a register and frames of
//! computed size cannot be bounded in this way and are errors.

mod riscv;
mod thumb;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use object::{Architecture, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use crate::error::{Error, Result};
use crate::files;

/// What a function takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of code.
    pub code: u64,
    /// Bytes of stack, its own frame included.
    pub stack: u64,
    /// The functions, with the frame of each, in the order of their addresses.
    pub functions: Vec<(String, u64)>,
    /// Where their code lies, in the same order.
    pub addresses: Vec<Range<u64>>,
}

/// What an instruction does to stack and calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing, or it gives stack back.
    None,
    /// Takes so many bytes of stack.
    Push(u32),
    /// May go on at this address.
    Jump(u64),
    /// What it does depends on a register.
    Unbounded(&'static str),
}

/// A function of the ELF.
struct Function<'a> {
    name: &'a str,
    /// Bytes of its own frame.
    frame: u64,
    size: u64,
    /// Addresses that it calls or jumps to outside itself.
    calls: Vec<u64>,
}

/// Of the one function whose symbol contains `root`, and of everything below it.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadFile`] when it is no ELF, `root` is not one function of it, or its stack has no bound.
pub fn footprint(elf: &Path, root: &str) -> Result<Footprint> {
    let bytes = files::read(elf, &files::ELF)?;
    let bad = |problem: String| Error::bad_file(elf, problem, "build it again");
    let file = object::File::parse(&*bytes).map_err(|error| bad(format!("not an ELF: {error}")))?;
    let mut graph = Graph { code: Code::of(&file), reached: BTreeMap::new(), path: Vec::new() };
    let roots: Vec<u64> = graph.code.symbols.iter().filter(|(_, s)| s.0.contains(root)).map(|(&at, _)| at).collect();
    let [start] = roots[..] else { return Err(bad(format!("{} functions are called {root}, not one", roots.len()))) };
    let stack = graph.deepest(start).map_err(bad)?;
    let functions: Vec<_> = graph.reached.values().map(|(f, _)| (f.name.to_owned(), f.frame)).collect();
    let addresses = graph.reached.iter().map(|(&at, (f, _))| at..at + f.size).collect();
    Ok(Footprint { code: graph.reached.values().map(|(f, _)| f.size).sum(), stack, functions, addresses })
}

/// Reads the instruction at the beginning of some code, which lies at an address: its length in halfwords, and its effect.
type Decode = fn(&[u16], u64) -> (usize, Effect);

/// The machine code, with the symbols that divide it.
struct Code<'a> {
    decode: Decode,
    /// Start of each function: its name and size.
    symbols: BTreeMap<u64, (&'a str, u64)>,
    /// Where data begins (`true`) or code begins again, as the mapping symbols say.
    data: BTreeMap<u64, bool>,
    sections: Vec<(u64, &'a [u8])>,
}

impl<'a> Code<'a> {
    fn of(file: &object::File<'a>) -> Self {
        let decode = if file.architecture() == Architecture::Riscv32 { riscv::decode } else { thumb::decode };
        let (mut symbols, mut data) = (BTreeMap::new(), BTreeMap::new());
        let is_code = |section| file.section_by_index(section).is_ok_and(|s| s.kind() == SectionKind::Text);
        for symbol in file.symbols().filter(|symbol| symbol.section_index().is_some_and(is_code)) {
            let name = symbol.name().unwrap_or_default();
            if name.starts_with("$d") {
                data.insert(symbol.address(), true);
            } else if name.starts_with("$t") || name.starts_with("$x") {
                data.entry(symbol.address()).or_insert(false);
            } else if symbol.kind() == SymbolKind::Text && symbol.size() > 0 {
                // The lowest bit says that it is Thumb code.
                symbols.insert(symbol.address() & !1, (name, symbol.size()));
            }
        }
        let sections = file.sections().filter_map(|s| Some((s.address(), s.data().ok()?)));
        Self { decode, symbols, data, sections: sections.filter(|(_, bytes)| !bytes.is_empty()).collect() }
    }

    fn function(&self, at: u64) -> Result<Function<'a>, String> {
        let &(name, size) = self.symbols.get(&at).ok_or_else(|| format!("a call to {at:#x}, where nothing begins"))?;
        let within = |&&(start, bytes): &&(u64, &[u8])| start <= at && at + size <= start + bytes.len() as u64;
        let &(start, bytes) = self.sections.iter().find(within).ok_or_else(|| format!("{name} has no code"))?;
        let bytes = &bytes[(at - start) as usize..(at - start + size) as usize];
        let mut function = Function { name, frame: 0, size, calls: Vec::new() };
        let halfwords: Vec<u16> = bytes.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        let mut index = 0;
        while index < halfwords.len() {
            let address = at + 2 * index as u64;
            if self.data.range(..=address).next_back().is_some_and(|(_, &data)| data) {
                index += 1;
                continue;
            }
            let (length, effect) = (self.decode)(&halfwords[index..], address);
            index += length;
            match effect {
                Effect::None => {}
                Effect::Push(bytes) => function.frame += u64::from(bytes),
                Effect::Jump(target) if (at..at + size).contains(&target) => {}
                Effect::Jump(target) => function.calls.push(target),
                Effect::Unbounded(what) => return Err(format!("{name} has {what} at {address:#x}")),
            }
        }
        Ok(function)
    }
}

/// The calls below a function.
struct Graph<'a> {
    code: Code<'a>,
    /// Functions that are done, with their stack.
    reached: BTreeMap<u64, (Function<'a>, u64)>,
    /// Functions that are being walked.
    path: Vec<u64>,
}

impl Graph<'_> {
    fn deepest(&mut self, at: u64) -> Result<u64, String> {
        if let Some((_, stack)) = self.reached.get(&at) {
            return Ok(*stack);
        }
        let function = self.code.function(at)?;
        if self.path.contains(&at) {
            return Err(format!("{} calls itself", function.name));
        }
        self.path.push(at);
        let mut below = 0;
        for &target in &function.calls {
            below = self.deepest(target)?.max(below);
        }
        self.path.pop();
        let stack = function.frame + below;
        self.reached.insert(at, (function, stack));
        Ok(stack)
    }
}
