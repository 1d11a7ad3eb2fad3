// A CUDA driver without a GPU: a libcuda.so.1 that runs the kernels of this directory on the CPU shim, so that the
// unmodified engine runs end to end. It knows the calls that the engine makes, and keeps to what a real driver promises:
//
// - memory comes poisoned with NaN, and ends at a page that nobody may touch;
// - a capture runs nothing, and a graph keeps the arguments of its launches by value;
// - a module must be PTX of a version that a driver of CUDA 12.0 takes, and knows the kernels that stand in it alone.
//
// BN_LENET_FAKE_CUDA makes it refuse: `no-device`, `old-driver` (knows PTX up to 7.8), `no-memory`, `small-gpu` (8 multiprocessors),
// `pascal` (compute capability 6.0), `odd-gpu` (no room for 16 clusters of 8 blocks), `broken-barrier` (cooperative launches end in a trap), `hang` (they do not end).
//
// Compiled with kernels.inc, which registers every kernel: one line REGISTER(name) each.
#include "device.h"

#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>

#include <unistd.h>

#include "../lenet.cu"
#include "../persistent.cu"
#include "../persistent_cluster.cu"

namespace {

enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    COOPERATIVE_LAUNCH_TOO_LARGE = 720,
    CAPTURE_UNSUPPORTED = 900,
};

// One launch with its arguments copied.
using Call = std::function<void()>;

struct Kernel {
    const char *name;
    // Copies the arguments that `arguments` points to.
    std::function<Call(void **arguments)> bind;
};

template <typename... A, size_t... I>
Call bind_arguments(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    std::tuple<A...> copies(*static_cast<A *>(arguments[I])...);
    return [kernel, copies] { std::apply(kernel, copies); };
}

template <typename... A> Kernel make_kernel(const char *name, void (*kernel)(A...)) {
    return {name, [kernel](void **arguments) {
                return bind_arguments(kernel, arguments, std::index_sequence_for<A...>());
            }};
}

std::vector<Kernel> &kernels() {
    static std::vector<Kernel> all = {
#define REGISTER(name) make_kernel(#name, name),
#include "kernels.inc"
#undef REGISTER
    };
    return all;
}

struct Launch {
    const char *kernel;
    unsigned blocks, threads;
    Call call;
    bool cooperative = false;
    size_t shared = 0;
    unsigned cluster = 0;
};

struct Graph {
    std::vector<Launch> launches;
};

struct Stream {
    std::unique_ptr<Graph> capture;
};

struct Module {
    std::string ptx;
};

// One kernel at a time, whatever thread asks: the shim has one block.
std::mutex device;
// Like a context after a trap: what every later wait for the device answers.
int failed = SUCCESS;
std::map<uintptr_t, std::pair<char *, size_t>> allocations;

bool refuses(const char *what) {
    const char *wish = getenv("BN_LENET_FAKE_CUDA");
    return wish && !strcmp(wish, what);
}

void run(const Launch &launch) {
    if (launch.cooperative) {
        shim::run_cooperative_grid(launch.kernel, launch.blocks, launch.threads, launch.shared, launch.cluster, launch.call);
    } else {
        shim::run_grid(launch.kernel, launch.blocks, launch.threads, launch.call);
    }
}

// A GPU of 128 multiprocessors, each with room for one block of the most shared memory that a block may ask for, Hopper's; or a
// small one.
int multiprocessors() { return refuses("small-gpu") ? 8 : 128; }
int compute_capability() { return refuses("pascal") ? 6 : 9; }
constexpr int SHARED_A_BLOCK = 227 * 1024;

// A launch as cuLaunchKernelEx takes it.
struct Attribute {
    int id, padding;
    union {
        int cooperative;
        unsigned cluster[3];
        char most[64];
    };
};
struct Config {
    unsigned blocks[3], threads[3], shared;
    Stream *stream;
    const Attribute *attributes;
    unsigned attribute_count;
};

const Attribute *find(const Config &config, int id) {
    const Attribute *end = config.attributes + config.attribute_count;
    const Attribute *found = std::find_if(config.attributes, end, [=](const Attribute &one) { return one.id == id; });
    return found == end ? nullptr : found;
}
bool is_cooperative(const Config &config) {
    constexpr int COOPERATIVE = 2;
    return find(config, COOPERATIVE) && find(config, COOPERATIVE)->cooperative == 1;
}
// Blocks of a cluster, or 0.
unsigned cluster_of(const Config &config) {
    constexpr int CLUSTER_DIMENSION = 4, MOST = 8;
    const Attribute *size = find(config, CLUSTER_DIMENSION);
    return size && size->cluster[0] <= MOST && size->cluster[1] == 1 && size->cluster[2] == 1 ? size->cluster[0] : 0;
}

} // namespace

extern "C" {

int cuInit(unsigned) { return refuses("no-device") ? NO_DEVICE : SUCCESS; }

int cuGetErrorString(int error, const char **text) {
    static const std::map<int, const char *> texts = {
        {SUCCESS, "no error"},
        {INVALID_VALUE, "invalid argument"},
        {OUT_OF_MEMORY, "out of memory"},
        {NO_DEVICE, "no CUDA-capable device is detected"},
        {INVALID_PTX, "a PTX JIT compilation failed"},
        {UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain."},
        {NOT_FOUND, "named symbol not found"},
        {LAUNCH_FAILED, "unspecified launch failure"},
        {COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch"},
        {CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"},
    };
    const auto found = texts.find(error);
    *text = found == texts.end() ? "unrecognized error code" : found->second;
    return SUCCESS;
}
int cuGetErrorName(int error, const char **text) { return cuGetErrorString(error, text); }

int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int *result, int ordinal) { return *result = ordinal, ordinal == 0 ? SUCCESS : INVALID_VALUE; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "CPU shim"), SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    // The rest are zero.
    constexpr int MULTIPROCESSOR_COUNT = 16, COOPERATIVE_LAUNCH = 95, SHARED_MEMORY_PER_BLOCK_OPTIN = 97;
    constexpr int COMPUTE_CAPABILITY_MAJOR = 75;
    constexpr int MEMORY_POOLS_SUPPORTED = 115; // as every driver of CUDA 12 on a supported GPU
    const std::map<int, int> values = {{MULTIPROCESSOR_COUNT, multiprocessors()},
                                       {COMPUTE_CAPABILITY_MAJOR, compute_capability()},
                                       {COOPERATIVE_LAUNCH, 1},
                                       {SHARED_MEMORY_PER_BLOCK_OPTIN, SHARED_A_BLOCK},
                                       {MEMORY_POOLS_SUPPORTED, 1}};
    const auto found = values.find(attribute);
    return *value = found == values.end() ? 0 : found->second, SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = &device, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxGetCurrent(void **context) { return *context = &device, SUCCESS; }
int cuCtxSetCurrent(void *) { return SUCCESS; }
int cuCtxSynchronize() { return SUCCESS; }

int cuStreamCreate(Stream **stream, unsigned) { return *stream = new Stream, SUCCESS; }
int cuStreamDestroy_v2(Stream *stream) { return delete stream, SUCCESS; }
int cuStreamSynchronize(Stream *stream) { return stream->capture ? CAPTURE_UNSUPPORTED : failed; }

int cuMemAllocAsync(uintptr_t *address, size_t bytes, Stream *stream) {
    if (stream->capture) {
        return CAPTURE_UNSUPPORTED;
    }
    if (refuses("no-memory") && bytes > (1 << 16)) {
        return OUT_OF_MEMORY;
    }
    // The end is aligned to 16 bytes and to a page that traps.
    const size_t page = 4096, used = (bytes + 15) / 16 * 16, mapped = (used + page - 1) / page * page;
    void *memory = mmap(nullptr, mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return OUT_OF_MEMORY;
    }
    char *start = static_cast<char *>(memory);
    mprotect(start + mapped, page, PROT_NONE);
    memset(start, 0xff, mapped);
    shim::forbid(start, mapped - used);
    shim::forbid(start + mapped - used + bytes, used - bytes);
    *address = reinterpret_cast<uintptr_t>(start + mapped - used);
    shim::races::device_memory(start, mapped);
    std::lock_guard<std::mutex> lock(device);
    allocations[*address] = {start, mapped + page};
    return SUCCESS;
}

int cuMemFreeAsync(uintptr_t address, Stream *) {
    std::lock_guard<std::mutex> lock(device);
    const auto found = allocations.find(address);
    if (found == allocations.end()) {
        return INVALID_VALUE;
    }
    shim::permit(found->second.first, found->second.second);
    munmap(found->second.first, found->second.second);
    allocations.erase(found);
    return SUCCESS;
}

int cuMemsetD8Async(uintptr_t address, unsigned char value, size_t bytes, Stream *stream) {
    if (stream->capture) {
        return CAPTURE_UNSUPPORTED;
    }
    return memset(reinterpret_cast<void *>(address), value, bytes), SUCCESS;
}
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t bytes, Stream *stream) {
    if (stream->capture) {
        return CAPTURE_UNSUPPORTED;
    }
    return memcpy(reinterpret_cast<void *>(to), from, bytes), SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t bytes, Stream *stream) {
    if (stream->capture) {
        return CAPTURE_UNSUPPORTED;
    }
    return memcpy(to, reinterpret_cast<const void *>(from), bytes), SUCCESS;
}

int cuModuleLoadData(Module **module, const char *ptx) {
    const char *version = strstr(ptx, "\n.version ");
    if (!version) {
        return INVALID_PTX;
    }
    if (strtod(version + strlen("\n.version "), nullptr) > (refuses("old-driver") ? 7.8 : 8.0)) {
        return UNSUPPORTED_PTX_VERSION;
    }
    const char *target = strstr(ptx, "\n.target sm_");
    if (!target || atoi(target + strlen("\n.target sm_")) > 10 * compute_capability()) {
        return INVALID_PTX;
    }
    return *module = new Module{ptx}, SUCCESS;
}
int cuModuleUnload(Module *module) { return delete module, SUCCESS; }

int cuModuleGetFunction(const Kernel **function, Module *module, const char *name) {
    if (module->ptx.find(std::string(".entry ") + name + "(") == std::string::npos) {
        return NOT_FOUND;
    }
    for (const Kernel &kernel : kernels()) {
        if (!strcmp(kernel.name, name)) {
            return *function = &kernel, SUCCESS;
        }
    }
    return NOT_FOUND;
}

int cuLaunchKernel(const Kernel *kernel, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned, unsigned,
                   unsigned, Stream *stream, void **arguments, void **) {
    if (blocks == 0 || threads == 0 || threads > 1024) {
        return INVALID_VALUE;
    }
    Launch launch{kernel->name, blocks, threads, kernel->bind(arguments)};
    if (stream->capture) {
        stream->capture->launches.push_back(std::move(launch));
        return SUCCESS;
    }
    std::lock_guard<std::mutex> lock(device);
    return run(launch), SUCCESS;
}

int cuFuncSetAttribute(const Kernel *, int, int value) { return value > SHARED_A_BLOCK ? INVALID_VALUE : SUCCESS; }
int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const Kernel *, int, size_t shared, unsigned) {
    return *blocks = shared <= SHARED_A_BLOCK, SUCCESS;
}
int launch_cooperative(const Kernel *kernel, unsigned blocks, unsigned threads, unsigned shared, unsigned cluster, Stream *stream,
                       void **arguments) {
    if (blocks == 0 || threads == 0 || threads > 1024 || shared > SHARED_A_BLOCK) {
        return INVALID_VALUE;
    }
    if (blocks > static_cast<unsigned>(multiprocessors())) {
        return COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    if (stream->capture) {
        return CAPTURE_UNSUPPORTED;
    }
    std::lock_guard<std::mutex> lock(device);
    while (refuses("hang")) {
        pause();
    }
    if (refuses("broken-barrier")) {
        failed = LAUNCH_FAILED;
        return SUCCESS;
    }
    return run({kernel->name, blocks, threads, kernel->bind(arguments), true, shared, cluster}), SUCCESS;
}
int cuLaunchCooperativeKernel(const Kernel *kernel, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned,
                              unsigned, unsigned shared, Stream *stream, void **arguments) {
    return launch_cooperative(kernel, blocks, threads, shared, 0, stream, arguments);
}

int cuOccupancyMaxActiveClusters(int *clusters, const Kernel *, const Config *config) {
    const unsigned cluster = cluster_of(*config);
    if (cluster == 0 || config->shared > SHARED_A_BLOCK) {
        return INVALID_VALUE;
    }
    return *clusters = multiprocessors() / cluster - refuses("odd-gpu"), SUCCESS;
}
int cuLaunchKernelEx(const Config *config, const Kernel *kernel, void **arguments, void **) {
    const unsigned cluster = cluster_of(*config);
    if (!is_cooperative(*config) || cluster == 0 || config->blocks[0] % cluster != 0) {
        return INVALID_VALUE;
    }
    return launch_cooperative(kernel, config->blocks[0], config->threads[0], config->shared, cluster, config->stream, arguments);
}

int cuStreamBeginCapture_v2(Stream *stream, int) { return stream->capture.reset(new Graph), SUCCESS; }
int cuStreamEndCapture(Stream *stream, Graph **graph) {
    if (!stream->capture) {
        return INVALID_VALUE;
    }
    return *graph = stream->capture.release(), SUCCESS;
}
int cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long) {
    return *executable = new Graph(*graph), SUCCESS;
}
int cuGraphLaunch(Graph *executable, Stream *stream) {
    if (stream->capture) {
        return CAPTURE_UNSUPPORTED;
    }
    std::lock_guard<std::mutex> lock(device);
    for (const Launch &launch : executable->launches) {
        run(launch);
    }
    return SUCCESS;
}
int cuGraphDestroy(Graph *graph) { return delete graph, SUCCESS; }
int cuGraphExecDestroy(Graph *executable) { return delete executable, SUCCESS; }

} // extern "C"
