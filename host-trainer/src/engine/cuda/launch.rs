//! The one place that talks to the CUDA driver without a net: opening a device, launching kernels, capturing a graph.
//!
//! What keeps it sound: the kernels are this crate's own, embedded as PTX; every launch is checked against the parameter
//! list that the PTX declares; all work goes to one stream, so that it runs in the order of the calls.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{
    self, CUdevice_attribute, CUfunction_attribute_enum, CUgraphInstantiate_flags, CUstreamCaptureMode,
    is_culib_present,
};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, LaunchConfig,
    PushKernelArg, ValidAsZeroBits,
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
    /// The first device, with the graph's kernels on it, and those of `wished` that it is made for. A driver that meets a module for
    /// the first time compiles it, which takes a second or two: so all are loaded side by side, and none for nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] without a driver or a device; [`Error::Tool`] when the driver refuses.
    pub(super) fn open(wished: &[&str]) -> Result<Self> {
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
        let (graph, others) = ptx::MODULES.split_first().expect("the graph's comes first");
        let wished = |module: &&ptx::Module| {
            capability >= module.compute_capability() && wished.iter().any(|kernel| module.has(kernel))
        };
        let kernels = std::thread::scope(|scope| {
            let context = &context;
            let beside: Vec<_> =
                others.iter().filter(wished).map(|module| scope.spawn(move || load(context, module))).collect();
            let mut kernels = load(context, graph)?;
            for loading in beside {
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

    /// Queues a kernel whose blocks meet at barriers of the grid, with `shared` bytes of dynamic shared memory a block; with `cluster`
    /// as many neighbouring blocks are a cluster.
    ///
    /// # Panics
    /// As [`launch`](Self::launch).
    pub(super) fn launch_cooperative(&self, launch: &Launch<'_>, shared: usize, cluster: Option<usize>) -> Result<()> {
        match cluster {
            None => self.launch_any(launch, Some(shared)),
            Some(blocks) => self.launch_clusters(launch, shared, blocks),
        }
    }

    /// How many blocks of a kernel, of `threads` threads and `shared` bytes of dynamic shared memory, are on the device side by
    /// side in a cooperative launch; 0 if it has no such launches, or the kernel asks for more than a block of its may have.
    pub(super) fn resident_blocks(&self, kernel: &'static str, threads: usize, shared: usize) -> Result<usize> {
        let Some(function) = self.cooperative(kernel, shared)? else { return Ok(0) };
        let each = function.occupancy_max_active_blocks_per_multiprocessor(threads as u32, shared, None);
        let each = each.map_err(refused("ask for the occupancy"))?;
        let multiprocessors = self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        Ok(each as usize * multiprocessors as usize)
    }

    /// Likewise how many clusters of `cluster` blocks of a launch.
    pub(super) fn resident_clusters(&self, launch: &Launch<'_>, shared: usize, cluster: usize) -> Result<usize> {
        let Some(function) = self.cooperative(launch.kernel, shared)? else { return Ok(0) };
        let [_, mut size] = in_clusters_of(cluster);
        let config = self.config(launch, shared, std::slice::from_mut(&mut size));
        let mut clusters = 0;
        // SAFETY: the call reads `config` and its attributes, which are there until it returns, and writes `clusters`.
        let asked = unsafe { sys::cuOccupancyMaxActiveClusters(&mut clusters, function.cu_function(), &config) };
        asked.result().map_err(refused("ask for the occupancy"))?;
        Ok(clusters as usize)
    }

    /// A kernel for cooperative launches with so much dynamic shared memory, if the device has all that.
    fn cooperative(&self, kernel: &str, shared: usize) -> Result<Option<&CudaFunction>> {
        let cooperative = self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)?;
        let most_shared = self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let Some(function) = self.function(kernel).filter(|_| cooperative != 0 && most_shared as usize >= shared)
        else {
            return Ok(None);
        };
        let dynamic = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(dynamic, shared as i32).map_err(refused("reserve shared memory"))?;
        Ok(Some(function))
    }

    fn attribute(&self, what: CUdevice_attribute) -> Result<i32> {
        self.context.attribute(what).map_err(refused("read the device's limits"))
    }

    /// A kernel, unless the device is too old for it.
    fn function(&self, kernel: &str) -> Option<&CudaFunction> {
        self.kernels.iter().find(|(name, _)| *name == kernel).map(|(_, function)| function)
    }

    /// The kernel of a launch, whose arguments are those that it takes.
    fn checked(&self, launch: &Launch<'_>) -> &CudaFunction {
        let sizes = launch.arguments.iter().map(|argument| match argument {
            Argument::Count(_) => 4,
            _ => 8,
        });
        assert!(sizes.eq(ptx::parameter_sizes(launch.kernel)), "{} takes other arguments", launch.kernel);
        self.function(launch.kernel).expect("a kernel of ours that this device takes")
    }

    fn launch_any(&self, launch: &Launch<'_>, cooperative: Option<usize>) -> Result<()> {
        let function = self.checked(launch);
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
        // SAFETY: number and sizes of the arguments were compared with the kernel's declaration by `checked`; `step` builds every
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

    /// As [`launch_cooperative`](Self::launch_cooperative), which cudarc has without clusters alone.
    fn launch_clusters(&self, launch: &Launch<'_>, shared: usize, cluster: usize) -> Result<()> {
        let function = self.checked(launch);
        let address = |argument: &Argument<'_>| match argument {
            Argument::Bytes(buffer) => buffer.device_ptr(&self.stream).0,
            Argument::Words(buffer) => buffer.device_ptr(&self.stream).0,
            Argument::Floats(buffer) => buffer.device_ptr(&self.stream).0,
            Argument::Doubles(buffer) => buffer.device_ptr(&self.stream).0,
            Argument::Count(_) => 0,
        };
        let addresses: Vec<sys::CUdeviceptr> = launch.arguments.iter().map(address).collect();
        let pointer = |(argument, address): (&Argument<'_>, &sys::CUdeviceptr)| match argument {
            Argument::Count(count) => ptr::from_ref(count).cast_mut().cast::<c_void>(),
            _ => ptr::from_ref(address).cast_mut().cast(),
        };
        let mut pointers: Vec<*mut c_void> = launch.arguments.iter().zip(&addresses).map(pointer).collect();
        let mut attributes = in_clusters_of(cluster);
        let config = self.config(launch, shared, &mut attributes);
        self.context.bind_to_thread().map_err(refused("take the device"))?;
        // SAFETY: as in `launch_any`. The driver copies what the pointers point to, and reads `config` and its attributes, before it
        // returns.
        let launched =
            unsafe { sys::cuLaunchKernelEx(&config, function.cu_function(), pointers.as_mut_ptr(), ptr::null_mut()) };
        launched.result().map_err(refused(launch.kernel))
    }

    fn config(
        &self,
        launch: &Launch<'_>,
        shared: usize,
        attributes: &mut [sys::CUlaunchAttribute],
    ) -> sys::CUlaunchConfig {
        sys::CUlaunchConfig {
            gridDimX: launch.blocks as u32,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: launch.threads as u32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared as u32,
            hStream: self.stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        }
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

/// A cooperative launch in clusters of so many blocks.
fn in_clusters_of(blocks: usize) -> [sys::CUlaunchAttribute; 2] {
    let attribute = |id, value| sys::CUlaunchAttribute { id, pad: [0; 4], value };
    // All of a value has to be zero but what is said.
    let zero = sys::CUlaunchAttributeValue { pad: [0; 64] };
    let (mut cooperative, mut cluster) = (zero, zero);
    cooperative.cooperative = 1;
    cluster.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: blocks as u32, y: 1, z: 1 };
    [
        attribute(sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE, cooperative),
        attribute(sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, cluster),
    ]
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
