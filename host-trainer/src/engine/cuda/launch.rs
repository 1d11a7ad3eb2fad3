//! The one place that talks to the CUDA driver without a net: opening a device, launching kernels, capturing a graph.
//!
//! What keeps it sound: the kernels are this crate's own, embedded as PTX; every launch is checked against the parameter
//! list that the PTX declares; all work goes to one stream, so that it runs in the order of the calls.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::sys::{
    CUdevice_attribute, CUfunction_attribute_enum, CUgraphInstantiate_flags, CUstreamCaptureMode, is_culib_present,
};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaSlice, CudaStream, DeviceRepr, DriverError, LaunchConfig, PushKernelArg,
    ValidAsZeroBits,
};
use cudarc::nvrtc::Ptx;

use super::ptx;
use crate::error::{Error, Result};

/// Names under which the driver's library is looked for, for people.
const LIBRARIES: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so, libcuda.so.1" };

/// A CUDA device with the kernels loaded.
pub(super) struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    kernels: Vec<(&'static str, CudaFunction)>,
    name: String,
}

/// What a kernel is handed: a buffer's address, or a number.
#[derive(Clone, Copy)]
pub(super) enum Argument<'a> {
    Bytes(&'a CudaSlice<u8>),
    Words(&'a CudaSlice<u32>),
    Floats(&'a CudaSlice<f32>),
    Doubles(&'a CudaSlice<f64>),
    Count(u32),
}

macro_rules! argument_from {
    ($($variant:ident $value:ty),*) => {
        $(impl<'a> From<&'a CudaSlice<$value>> for Argument<'a> {
            fn from(buffer: &'a CudaSlice<$value>) -> Self {
                Argument::$variant(buffer)
            }
        })*
    };
}
argument_from!(Bytes u8, Words u32, Floats f32, Doubles f64);

impl From<usize> for Argument<'_> {
    fn from(count: usize) -> Self {
        Argument::Count(u32::try_from(count).expect("counts of a launch fit in 32 bits"))
    }
}

/// One launch: `blocks` blocks of `threads` threads.
pub(super) struct Launch<'a> {
    pub(super) kernel: &'static str,
    pub(super) blocks: usize,
    pub(super) threads: usize,
    pub(super) arguments: &'a [Argument<'a>],
}

impl Device {
    /// The first device, with this crate's kernels on it; the persistent one, if the device is made for it, only when `persistent`
    /// asks. A driver that meets a module for the first time compiles it, which takes a second or two: so two are loaded side by
    /// side, and none for nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] without a driver or a device; [`Error::Tool`] when the driver refuses.
    pub(super) fn open(persistent: bool) -> Result<Self> {
        if !is_present() {
            return Err(missing(format!("no CUDA driver (looked for {LIBRARIES})")));
        }
        let count =
            CudaContext::device_count().map_err(|error| missing(format!("no CUDA device ({})", words(&error))))?;
        if count == 0 {
            return Err(missing("no CUDA device (the driver counts none)".into()));
        }
        let context = CudaContext::new(0).map_err(refused("open the device"))?;
        // SAFETY: events order the work of several streams; everything of this device goes to one.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(refused("make a stream"))?;
        let capability = compute_capability(&context)?;
        let [graph, module] = &*ptx::MODULES;
        let kernels = std::thread::scope(|scope| {
            let wished = persistent && capability >= module.compute_capability();
            let beside = wished.then(|| scope.spawn(|| load(&context, module)));
            let mut kernels = load(&context, graph)?;
            if let Some(loading) = beside {
                kernels.append(&mut loading.join().expect("errors are returned")?);
            }
            Ok::<_, Error>(kernels)
        })?;
        let name = context.name().map_err(refused("name the device"))?;
        Ok(Self { context, stream, kernels, name })
    }

    /// The device's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A buffer of zeros.
    pub(super) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, length: usize) -> Result<CudaSlice<T>> {
        self.stream.alloc_zeros(length).map_err(refused("allocate memory"))
    }

    /// A buffer with these values.
    pub(super) fn upload<T: DeviceRepr>(&self, values: &[T]) -> Result<CudaSlice<T>> {
        self.stream.clone_htod(values).map_err(refused("upload"))
    }

    /// Zeros in place of all values of a buffer.
    pub(super) fn clear<T: DeviceRepr + ValidAsZeroBits>(&self, buffer: &mut CudaSlice<T>) -> Result<()> {
        self.stream.memset_zeros(buffer).map_err(refused("clear memory"))
    }

    /// Values into the beginning of a buffer.
    pub(super) fn write<T: DeviceRepr>(&self, values: &[T], to: &mut CudaSlice<T>) -> Result<()> {
        self.stream.memcpy_htod(values, to).map_err(refused("upload"))
    }

    /// The values of a buffer, once everything before has run.
    pub(super) fn read<T: DeviceRepr>(&self, from: &CudaSlice<T>) -> Result<Vec<T>> {
        let values = self.stream.clone_dtoh(from).map_err(refused("download"))?;
        self.stream.synchronize().map_err(refused("run the kernels"))?;
        Ok(values)
    }

    /// Queues a kernel.
    ///
    /// # Panics
    /// If the kernel is not of this crate, or takes other arguments.
    pub(super) fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        self.launch_any(launch, None)
    }

    /// Queues a kernel whose blocks meet at barriers of the grid, with `shared` bytes of dynamic shared memory a block.
    ///
    /// # Panics
    /// As [`launch`](Self::launch).
    pub(super) fn launch_cooperative(&self, launch: &Launch<'_>, shared: usize) -> Result<()> {
        self.launch_any(launch, Some(shared))
    }

    /// How many blocks of a kernel, of `threads` threads and `shared` bytes of dynamic shared memory, are on the device side by
    /// side in a cooperative launch; 0 if it has no such launches, or the kernel asks for more than a block of its may have.
    pub(super) fn resident_blocks(&self, kernel: &'static str, threads: usize, shared: usize) -> Result<usize> {
        let attribute = |what| self.context.attribute(what).map_err(refused("read the device's limits"));
        let cooperative = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)?;
        let most_shared = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let Some(function) = self.function(kernel) else { return Ok(0) };
        if cooperative == 0 || (most_shared as usize) < shared {
            return Ok(0);
        }
        let dynamic = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(dynamic, shared as i32).map_err(refused("reserve shared memory"))?;
        let each = function.occupancy_max_active_blocks_per_multiprocessor(threads as u32, shared, None);
        let each = each.map_err(refused("ask for the occupancy"))?;
        Ok(each as usize * attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize)
    }

    /// A kernel, unless the device is too old for it.
    fn function(&self, kernel: &str) -> Option<&CudaFunction> {
        self.kernels.iter().find(|(name, _)| *name == kernel).map(|(_, function)| function)
    }

    fn launch_any(&self, launch: &Launch<'_>, cooperative: Option<usize>) -> Result<()> {
        let function = self.function(launch.kernel).expect("a kernel of ours that this device takes");
        let sizes = launch.arguments.iter().map(|argument| match argument {
            Argument::Count(_) => 4,
            _ => 8,
        });
        assert!(sizes.eq(ptx::parameter_sizes(launch.kernel)), "{} takes other arguments", launch.kernel);

        let mut builder = self.stream.launch_builder(function);
        for argument in launch.arguments {
            match argument {
                Argument::Bytes(buffer) => builder.arg(*buffer),
                Argument::Words(buffer) => builder.arg(*buffer),
                Argument::Floats(buffer) => builder.arg(*buffer),
                Argument::Doubles(buffer) => builder.arg(*buffer),
                Argument::Count(count) => builder.arg(count),
            };
        }
        let config = LaunchConfig {
            grid_dim: (launch.blocks as u32, 1, 1),
            block_dim: (launch.threads as u32, 1, 1),
            shared_mem_bytes: cooperative.unwrap_or(0) as u32,
        };
        // SAFETY: number and sizes of the arguments were compared with the kernel's declaration above; `step` builds every
        // launch from buffers of the lengths that the kernels' headers state, and the tests of the CPU build run each one
        // against memory with guard pages behind it. The stream keeps kernels in order, so none writes what another reads.
        // A cooperative launch is refused by the driver if its blocks are not all resident.
        unsafe {
            match cooperative {
                None => builder.launch(config),
                Some(_) => builder.launch_cooperative(config),
            }
        }
        .map_err(refused(launch.kernel))?;
        Ok(())
    }

    /// Records what `queue` launches, to be run again and again with one call.
    pub(super) fn capture(&self, queue: impl FnOnce() -> Result<()>) -> Result<CudaGraph> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(refused("begin a capture"))?;
        let queued = queue();
        // A capture must end, whatever happened in it.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).map_err(refused("make a graph"));
        queued?;
        graph?.ok_or_else(|| Error::Tool { tool: "CUDA".into(), problem: "the graph is empty".into() })
    }

    /// Queues a graph.
    pub(super) fn replay(&self, graph: &CudaGraph) -> Result<()> {
        graph.launch().map_err(refused("launch a graph"))
    }
}

/// Loads a module: its kernels.
fn load(context: &Arc<CudaContext>, module: &'static ptx::Module) -> Result<Vec<(&'static str, CudaFunction)>> {
    let loaded = context.load_module(Ptx::from_src(module.text)).map_err(|error| too_old(&error, module))?;
    let find =
        |kernel| loaded.load_function(kernel).map(|function| (kernel, function)).map_err(refused("find a kernel"));
    module.kernels().map(find).collect()
}

/// 70 for 7.0.
fn compute_capability(context: &Arc<CudaContext>) -> Result<i32> {
    let (major, minor) = context.compute_capability().map_err(refused("ask for the compute capability"))?;
    Ok(10 * major + minor)
}

/// Whether the driver's library can be loaded. cudarc panics in every other call without it.
pub(super) fn is_present() -> bool {
    // SAFETY: loads the driver's library, whose initialisers are trusted like every installed program's.
    unsafe { is_culib_present() }
}

fn missing(what: String) -> Error {
    Error::Missing { what, remedy: "install an NVIDIA driver of CUDA 12 or later, or use --engine cpu".into() }
}

fn refused(action: &'static str) -> impl Fn(DriverError) -> Error {
    move |error| Error::Tool { tool: "CUDA".into(), problem: format!("cannot {action}: {}", words(&error)) }
}

/// The driver's own words for an error.
fn words(error: &DriverError) -> String {
    error.error_string().map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned())
}

/// The driver's compiler did not take the PTX.
fn too_old(error: &DriverError, module: &ptx::Module) -> Error {
    missing(format!("the CUDA driver does not load PTX {} ({})", module.version(), words(error)))
}
