// The persistent kernel whose teams are clusters, for Hopper and later, see persistent_run.cuh.
#include "persistent_run.cuh"

PERSISTENT_KERNEL(persistent_train_cluster, true)
