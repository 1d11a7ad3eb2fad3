//! A network as a static library for C: the package `bn-c` built with it, cut down to what the network needs, with its header.

use std::path::{Path, PathBuf};

use bn_core::build::{header, is_name};
use bn_core::file::WeightsFile;
use object::elf::SHF_ALLOC;
use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};
use tempfile::TempDir;

use super::{cargo, exclusive, parse_elf, workspace_root};
use crate::device::setup;
use crate::error::{Error, Result};
use crate::files;
use crate::notice::notice;
use crate::process::{Command, Shown};

/// What a library begins its names with, behind `bn_` and before the function's own.
const FUNCTIONS: [&str; 5] = ["check", "open", "predict", "quantize", "weights"];
/// What a panic ends in; nothing has this name.
const PANIC: &str = "a_panic_is_reachable";

/// Which library to build.
#[derive(Clone, Copy, Debug)]
pub struct LibraryRequest<'a> {
    /// The network.
    pub weights: &'a WeightsFile,
    /// What its names begin with, behind `bn_`.
    pub name: &'a str,
    /// The compiler's name for the core.
    pub target: &'a str,
    /// Whether the core, a `thumbv8m.main`, has the DSP extension.
    pub dsp: bool,
}

/// A library that was built.
#[derive(Clone, Debug)]
pub struct Library {
    /// The archive, of one object.
    pub archive: Vec<u8>,
    /// Its header.
    pub header: String,
    /// Bytes of code and constants, the check of a model included, the model not.
    pub code_bytes: u64,
}

impl LibraryRequest<'_> {
    fn check(&self) -> Result<()> {
        let refuse = |problem, remedy: &str| Err(Error::BadArgument { problem, remedy: remedy.into() });
        if !is_name(self.name) {
            let problem = format!("{:?} cannot begin the names of a library", self.name);
            return refuse(problem, "take a small letter, then small letters, digits and _");
        }
        if self.dsp && !self.target.starts_with("thumbv8m.main") {
            let problem =
                format!("--dsp says nothing of {}, whose name tells whether it has the extension", self.target);
            return refuse(problem, "leave it out");
        }
        Ok(())
    }
}

/// Builds the library of a network. Installs the target's libraries first where that is possible.
///
/// # Errors
/// [`Error::BadArgument`] for a name that cannot be, [`Error::Missing`] without the target, the sources or the toolchain's tools,
/// [`Error::Tool`] with the compiler's reason, [`Error::Io`], [`Error::Disagreement`] when a panic is reachable.
pub fn build_library(request: &LibraryRequest<'_>) -> Result<Library> {
    request.check()?;
    let root = workspace_root()?;
    setup::ensure_target_of(request.target)?;
    let folder = cargo::target_directory(&root)?.join("firmware-inputs");
    let guard = exclusive(&folder)?;
    let weights = folder.join("library.bin");
    files::write_if_different(&weights, &request.weights.to_bytes())?;
    notice(&format!("building the library for {}", request.target));
    let build = cargo::library(&root, request.target, request.dsp)
        .env("BN_LENET_LIBRARY", &weights)
        .env("BN_LENET_LIBRARY_NAME", request.name);
    let built = cargo::library_of(build)?;
    let whole = files::read(&built, &files::ELF)?;
    drop(guard);
    let object = member(&built, &whole, &format!("bn_{}_predict", request.name))?;
    let directory = TempDir::new().map_err(Error::io("create a directory in", std::env::temp_dir()))?;
    let (object, archive) = cut_down(&root, directory.path(), request.name, &object)?;
    Ok(Library {
        archive,
        header: header(request.weights, request.name),
        code_bytes: code_bytes(&directory.path().join(request.name), &object, request)?,
    })
}

/// The object in an archive that has this symbol.
fn member(path: &Path, archive: &[u8], symbol: &str) -> Result<Vec<u8>> {
    let none = || Error::bad_file(path, "no archive of ELF objects", "name a target whose objects are ELF");
    let members = ArchiveFile::parse(archive).map_err(|_| none())?.members();
    // Copies, because an archive does not align them.
    let mut objects = members.filter_map(|member| Some(member.ok()?.data(archive).ok()?.to_vec()));
    let has_it = |bytes: &Vec<u8>| {
        let file = object::File::parse(&**bytes).ok().filter(|file| file.format() == object::BinaryFormat::Elf);
        file.is_some_and(|file| file.symbols().any(|named| named.name() == Ok(symbol)))
    };
    objects.find(has_it).ok_or_else(none)
}

/// An object with what the functions reach alone, which shows no other names, and the archive of it. Two networks can then be in one
/// program, and what the C compiler brings itself, as `memcpy`, is not here a second time.
fn cut_down(root: &Path, folder: &Path, name: &str, object: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let at = |name: &str| folder.join(name);
    let (whole, reached, part, archive) =
        (at("whole.o"), at("reached.o"), at(&format!("bn_{name}.o")), at("library.a"));
    files::write(&whole, object)?;
    let tools = tools(root)?;
    let run = |tool: &str, arguments: Vec<PathBuf>| {
        let finished = Command::new(tools.join(tool)).args(arguments).finish(Shown::Nothing);
        finished.and_then(|finished| finished.succeeded(tool)).map(drop)
    };
    let words = |words: &[&str]| words.iter().map(PathBuf::from).collect::<Vec<_>>();
    let roots = FUNCTIONS.map(|function| format!("--undefined=bn_{name}_{function}").into());
    let link = words(&["-flavor", "gnu", "--relocatable", "--gc-sections", "-o"]);
    run("rust-lld", [link, vec![reached.clone(), whole], roots.into()].concat())?;
    let keep = words(&["--strip-debug", "--wildcard", &format!("--keep-global-symbol=bn_{name}_*")]);
    run("llvm-objcopy", [keep, vec![reached, part.clone()]].concat())?;
    run("llvm-ar", [words(&["rcsD"]), vec![archive.clone(), part.clone()]].concat())?;
    Ok((files::read(&part, &files::ELF)?, files::read(&archive, &files::ELF)?))
}

/// Where the toolchain has its linker and its tools.
fn tools(root: &Path) -> Result<PathBuf> {
    let asking = Command::new("rustc").directory(root).args(["--print", "target-libdir"]);
    let answer = asking.finish(Shown::Nothing)?.succeeded("rustc --print target-libdir")?;
    let tools = Path::new(answer.stdout.trim()).with_file_name("bin");
    if tools.join("llvm-ar").with_extension(std::env::consts::EXE_EXTENSION).is_file() {
        return Ok(tools);
    }
    Err(Error::Missing {
        what: format!("the toolchain has no llvm-ar in {}", tools.display()),
        remedy: "type: rustup component add llvm-tools".into(),
    })
}

/// Bytes that an object takes in flash besides the model.
fn code_bytes(path: &Path, object: &[u8], request: &LibraryRequest<'_>) -> Result<u64> {
    let file = parse_elf(path, object)?;
    if file.symbols().any(|symbol| symbol.name() == Ok(PANIC)) {
        return Err(Error::Disagreement { problem: "a panic is reachable in the library".into() });
    }
    let is_loaded = |section: &object::Section<'_, '_>| matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & u64::from(SHF_ALLOC) != 0);
    let loaded: u64 = file.sections().filter(is_loaded).map(|section| section.size()).sum();
    Ok(loaded.saturating_sub(request.weights.model_bytes().len() as u64))
}
