//! What a function of a Thumb or RISC-V ELF takes of the chip, itself and all that it calls: bytes of code, and the deepest stack that
//! any path through the calls can reach. Read from the machine code, so it holds for assembly as for Rust. Reads one file.
//!
//! Every path through a function is followed with what it has on the stack at each instruction, so a call counts with what lies below
//! it and no more. Recursion, calls through a register, frames of computed size, and loops that take stack have no bound and are
//! errors.

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
    /// Bytes of stack, its own included.
    pub stack: u64,
    /// The functions, with the most that each has on the stack itself, in the order of their addresses.
    pub functions: Vec<(String, u64)>,
    /// Where their code lies, in the same order.
    pub addresses: Vec<Range<u64>>,
    /// The calls that take the most stack, outermost first.
    pub deepest: Vec<String>,
}

/// What an instruction does to the stack, and where the program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Goes on behind it.
    None,
    /// Likewise, and takes so many bytes of stack, or gives them back.
    Stack(i64),
    /// Goes on behind it, or at this address.
    Branch(u64),
    /// Goes on at this address.
    Jump(u64),
    /// Goes on behind it when the code at this address is done.
    Call(u64),
    /// Takes so many bytes and goes back to where the function was called.
    Return(i64),
    /// Goes on at an address that the function has put on the stack: of its code that follows, or, at its end, where it was called.
    Resume,
    /// Goes on at one of the addresses of a table behind it, of so many bytes an entry, which counts halfwords from the table's begin.
    Table(usize),
    /// The next instructions, so many, may do nothing.
    If(usize),
    /// Never goes on.
    Stop,
    /// What it does depends on a register.
    Unbounded(&'static str),
}

/// An instruction where it stands.
struct Instruction {
    at: u64,
    bytes: u64,
    effect: Effect,
    /// Whether it may do nothing.
    is_conditional: bool,
}

/// A function of the ELF, with all below it.
struct Function<'a> {
    name: &'a str,
    size: u64,
    /// The most bytes that it has on the stack itself, and with what it calls.
    frame: u64,
    stack: u64,
    /// What it leaves there: parts of functions in assembly may.
    left: i64,
    /// Addresses that it calls or jumps to outside itself, with what it has on the stack there.
    calls: BTreeMap<u64, i64>,
}

/// No program has so many bytes of stack.
const MOST_STACK: i64 = 1 << 24;

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
    graph.follow(start).map_err(bad)?;
    let stack = graph.reached[&start].stack;
    let functions = graph.reached.values().map(|f| (f.name.to_owned(), f.frame)).collect();
    let addresses = graph.reached.iter().map(|(&at, f)| at..at + f.size).collect();
    let code = graph.reached.values().map(|f| f.size).sum();
    Ok(Footprint { code, stack, functions, addresses, deepest: graph.deepest(start) })
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

    /// Name and code of the function at an address.
    fn function(&self, at: u64) -> Result<(&'a str, &'a [u8]), String> {
        let &(name, size) = self.symbols.get(&at).ok_or_else(|| format!("a call to {at:#x}, where nothing begins"))?;
        let within = |&&(start, bytes): &&(u64, &[u8])| start <= at && at + size <= start + bytes.len() as u64;
        let &(start, bytes) = self.sections.iter().find(within).ok_or_else(|| format!("{name} has no code"))?;
        Ok((name, &bytes[(at - start) as usize..(at - start + size) as usize]))
    }

    /// The instructions of a function, without the data between them.
    fn instructions(&self, start: u64, bytes: &[u8]) -> Vec<Instruction> {
        let halfwords: Vec<u16> = bytes.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        let (mut instructions, mut index, mut conditional) = (Vec::new(), 0, 0);
        while index < halfwords.len() {
            let at = start + 2 * index as u64;
            if self.data.range(..=at).next_back().is_some_and(|(_, &data)| data) {
                index += 1;
                continue;
            }
            let (length, effect) = (self.decode)(&halfwords[index..], at);
            instructions.push(Instruction { at, bytes: 2 * length as u64, effect, is_conditional: conditional > 0 });
            conditional = if let Effect::If(count) = effect { count } else { conditional.saturating_sub(1) };
            index += length;
        }
        instructions
    }
}

/// The paths through a function.
struct Flow<'a> {
    name: &'a str,
    range: Range<u64>,
    code: &'a [u8],
    instructions: Vec<Instruction>,
    /// The most that is on the stack before each instruction which some path reaches.
    depths: Vec<Option<i64>>,
    /// Instructions whose depth is new.
    new: Vec<usize>,
    /// The most that is on the stack anywhere, and what is left when a path returns.
    frame: i64,
    left: Option<i64>,
    calls: BTreeMap<u64, i64>,
}

impl<'a> Flow<'a> {
    fn new(name: &'a str, start: u64, code: &'a [u8], instructions: Vec<Instruction>) -> Self {
        let (range, depths) = (start..start + code.len() as u64, vec![None; instructions.len()]);
        Self { name, range, code, instructions, depths, new: Vec::new(), frame: 0, left: None, calls: BTreeMap::new() }
    }

    /// Follows all paths. `left` tells what a function leaves on the stack.
    fn run(&mut self, mut left: impl FnMut(u64) -> Result<i64, String>) -> Result<(), String> {
        self.reach(self.range.start, 0)?;
        while let Some(index) = self.new.pop() {
            let Instruction { at, bytes, effect, is_conditional } = self.instructions[index];
            let (depth, behind) = (self.depths[index].unwrap_or(0), at + bytes);
            if is_conditional {
                self.reach(behind, depth)?;
            }
            match effect {
                Effect::Resume if behind == self.range.end => self.returns(at, depth)?,
                Effect::None | Effect::If(_) | Effect::Resume => self.reach(behind, depth)?,
                Effect::Stack(bytes) => self.reach(behind, depth + bytes)?,
                Effect::Call(target) if !self.range.contains(&target) => {
                    self.call(target, depth);
                    self.reach(behind, depth + left(target)?)?;
                }
                Effect::Branch(target) | Effect::Jump(target) if !self.range.contains(&target) => {
                    self.call(target, depth);
                    self.returns(at, depth + left(target)?)?;
                    if effect == Effect::Branch(target) {
                        self.reach(behind, depth)?;
                    }
                }
                Effect::Branch(target) | Effect::Call(target) => {
                    self.reach(target, depth)?;
                    self.reach(behind, depth)?;
                }
                Effect::Jump(target) => self.reach(target, depth)?,
                Effect::Table(entry) => {
                    let targets = self.targets(behind, entry);
                    if targets.is_empty() {
                        return Err(format!("{} has a table without entries at {at:#x}", self.name));
                    }
                    targets.into_iter().try_for_each(|target| self.reach(target, depth))?;
                }
                Effect::Return(bytes) => self.returns(at, depth + bytes)?,
                Effect::Stop => {}
                Effect::Unbounded(what) => return Err(format!("{} has {what} at {at:#x}", self.name)),
            }
        }
        Ok(())
    }

    /// A path reaches an instruction with so much on the stack.
    fn reach(&mut self, at: u64, depth: i64) -> Result<(), String> {
        if depth.abs() > MOST_STACK {
            return Err(format!("{} takes stack in a loop at {at:#x}", self.name));
        }
        self.frame = self.frame.max(depth);
        let found = self.instructions.binary_search_by_key(&at, |instruction| instruction.at);
        let index = found.map_err(|_| format!("{} goes on at {at:#x}, where no instruction begins", self.name))?;
        if self.depths[index].is_none_or(|known| known < depth) {
            self.depths[index] = Some(depth);
            self.new.push(index);
        }
        Ok(())
    }

    fn call(&mut self, target: u64, depth: i64) {
        let most = self.calls.entry(target).or_insert(depth);
        *most = depth.max(*most);
    }

    /// A path ends with so much on the stack.
    fn returns(&mut self, at: u64, left: i64) -> Result<(), String> {
        match self.left.replace(left) {
            Some(other) if other != left => {
                Err(format!("{} leaves {left} bytes on the stack at {at:#x}, elsewhere {other}", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Addresses of a table, which ends where instructions begin again.
    fn targets(&self, table: u64, entry: usize) -> Vec<u64> {
        let next = self.instructions.iter().map(|instruction| instruction.at).find(|&at| at >= table);
        let [from, to] = [table, next.unwrap_or(self.range.end)].map(|at| (at - self.range.start) as usize);
        let entries = self.code[from..to].chunks_exact(entry);
        let counted = entries.map(|bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)));
        // What fills up the table to a halfword is zero.
        counted.filter(|&count| count > 0).map(|count| table + 2 * count).collect()
    }
}

/// The calls below a function.
struct Graph<'a> {
    code: Code<'a>,
    /// Functions that are done.
    reached: BTreeMap<u64, Function<'a>>,
    /// Functions that are being followed.
    path: Vec<u64>,
}

impl Graph<'_> {
    /// Follows a function and all below it. What it leaves on the stack.
    fn follow(&mut self, at: u64) -> Result<i64, String> {
        if let Some(function) = self.reached.get(&at) {
            return Ok(function.left);
        }
        let (name, code) = self.code.function(at)?;
        if self.path.contains(&at) {
            return Err(format!("{name} calls itself"));
        }
        self.path.push(at);
        let size = code.len() as u64;
        let mut flow = Flow::new(name, at, code, self.code.instructions(at, code));
        flow.run(|target| self.follow(target))?;
        self.path.pop();
        let Flow { frame, left, calls, .. } = flow;
        let below = calls.iter().map(|(target, depth)| depth + self.reached[target].stack as i64);
        let stack = below.fold(frame, i64::max) as u64;
        let left = left.unwrap_or(0);
        self.reached.insert(at, Function { name, size, frame: frame as u64, stack, left, calls });
        Ok(left)
    }

    /// From a function that is done down to one that calls nothing, by what takes the most stack, each with what it has there.
    fn deepest(&self, at: u64) -> Vec<String> {
        let (mut chain, mut next) = (Vec::new(), Some(at));
        while let Some(function) = next.and_then(|at| self.reached.get(&at)) {
            let is_deepest =
                |&(target, depth): &(&u64, &i64)| depth + self.reached[target].stack as i64 == function.stack as i64;
            let call = function.calls.iter().find(is_deepest);
            chain.push(format!("{} {}", function.name, call.map_or(function.frame as i64, |(_, &depth)| depth)));
            next = call.map(|(&target, _)| target);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (i64, Option<i64>, Vec<(u64, i64)>);

    /// Of instructions of two bytes each from address 0 on: frame, what is left, calls; or what is wrong. Address 100 leaves 8 bytes.
    fn followed(effects: &[Effect]) -> Result<Found, String> {
        let instruction = |(at, &effect)| Instruction { at: 2 * at as u64, bytes: 2, effect, is_conditional: false };
        let (code, instructions) = (vec![0; 2 * effects.len()], effects.iter().enumerate().map(instruction).collect());
        let mut flow = Flow::new("it", 0, &code, instructions);
        flow.run(|target| Ok(if target == 100 { 8 } else { 0 }))?;
        Ok((flow.frame, flow.left, flow.calls.into_iter().collect()))
    }

    #[test]
    fn a_call_counts_with_what_lies_below_it() {
        let taken_twice = [Effect::Stack(8), Effect::Stack(-8), Effect::Call(50), Effect::Stack(4), Effect::Return(-4)];
        assert_eq!(followed(&taken_twice), Ok((8, Some(0), vec![(50, 0)])));
        let part = [Effect::Stack(4), Effect::Call(100), Effect::Call(50), Effect::Return(-4)];
        assert_eq!(followed(&part), Ok((12, Some(8), vec![(50, 12), (100, 4)])));
        let tail = [Effect::Branch(50), Effect::Stack(16), Effect::Stack(-16), Effect::Jump(60)];
        assert_eq!(followed(&tail), Ok((16, Some(0), vec![(50, 0), (60, 0)])));
    }

    #[test]
    fn what_has_no_bound_is_an_error() {
        let said = |effects: &[Effect]| followed(effects).expect_err("no bound");
        assert_eq!(said(&[Effect::Stack(4), Effect::Jump(0)]), "it takes stack in a loop at 0x2");
        let two = [Effect::Branch(4), Effect::Return(0), Effect::Stack(4), Effect::Return(0)];
        assert_eq!(said(&two), "it leaves 4 bytes on the stack at 0x6, elsewhere 0");
        assert_eq!(said(&[Effect::None]), "it goes on at 0x2, where no instruction begins");
        assert_eq!(said(&[Effect::Table(1), Effect::Return(0)]), "it has a table without entries at 0x0");
        assert_eq!(said(&[Effect::Unbounded("a jump")]), "it has a jump at 0x0");
    }
}
