// The persistent kernel for every GPU since Ampere, see persistent_run.cuh.
#include "persistent_run.cuh"

PERSISTENT_KERNEL(persistent_train, false)
