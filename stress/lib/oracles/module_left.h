// Leak oracle: what else a module has left in the kernel when it is unloaded: a thread, memory of
// vmalloc(), a name in sysfs, debugfs or /dev.
//
// A work queue with WQ_MEM_RECLAIM has a thread that carries its name (kernel/workqueue.c,
// init_rescuer()), which by custom begins with the module's, as do devices, caches and folders.
// /proc/vmallocinfo names the function that asked for each mapping (mm/vmalloc.c, s_show()): that
// of a module that is gone is a bare address, as in module_memory.h.  Coherent DMA memory has no
// such table: the injector counts it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "lib/findings.h"
#include "lib/oracles/module_memory.h"

namespace at {

// The name of the kernel thread of /proc/PID/stat (fs/proc/array.c, do_task_stat()), where it is
// that of a module of this name; empty: it is none, or another's.
std::string thread_of_module(const std::string& stat, const std::string& module);

struct LeftMapping {
    std::string module;
    std::string told; // "8192 bytes by zcdma+0x20"
};
// Mappings that were not there `before` and that a module which is gone asked for, of
// /proc/vmallocinfo. One of before may be by the init code of another module, which lay there then.
std::vector<LeftMapping> left_mappings(const std::string& vmallocinfo, const std::string& before,
                                       const std::vector<ModuleRange>& gone);

// Where modules leave something, at one moment.
struct KernelPlaces {
    std::set<std::string> paths;    // of folders where modules make names
    std::set<std::string> tasks;    // by PID: none is given twice in the time of a cell
    std::vector<std::string> stats; // /proc/PID/stat of each that was not there before
    std::string vmallocinfo;
    std::int64_t coherent = 0; // DMA buffers of modules with marks (fault/coherent.c)
};
// `before`: null for the first look.
KernelPlaces read_kernel_places(const KernelPlaces* before);

// What modules that are gone have left; `before` is what was there when they were loaded.
std::vector<Finding> judge_module_left(const KernelPlaces& now, const KernelPlaces& before,
                                       const std::vector<ModuleRange>& gone);

} // namespace at
