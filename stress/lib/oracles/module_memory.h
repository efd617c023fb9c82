// Leak oracle: memory that a module allocated and has not freed when it is unloaded.
//
// SLUB keeps the stack of each allocation where a cache is booted with slub_debug=U, and shows live
// objects by it in debugfs (mm/slub.c, slab_debugfs_show()).  Once the module is gone its functions
// have no names there any more: a bare address inside of where it lay is an allocation of its own.
// Caches that hold no more than before are not read: each takes tens of milliseconds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/findings.h"

namespace at {

// Where a module lay: bytes from `start`.
struct ModuleRange {
    std::string name;
    std::uint64_t start = 0;
    std::uint64_t bytes = 0;
};
std::uint64_t jiffies_of(std::uint64_t ns); // rounded up, and a margin
// Of /proc/modules (kernel/module/procfs.c, m_show()), the module of that name; bytes 0: not there.
ModuleRange parse_module(const std::string& modules, const std::string& name);
ModuleRange range_of_module(const std::string& name);
// The module in which a bare address lies; nullptr: none, or it is a name.
const ModuleRange* owner_of(const std::string& word, const std::vector<ModuleRange>& gone);
// "zcdma+0x20" instead of an address that varies; another word as it is.
std::string named(const std::string& word, const std::vector<ModuleRange>& gone);

// Objects of each kmalloc cache that keeps stacks; empty where none does.  Who has the privilege
// shrinks the kernel's slab caches before.
using SlabCounts = std::map<std::string, std::int64_t>;
SlabCounts count_kmalloc_objects();

// Records of one cache's alloc_traces that begin in one of the modules, or in a function that
// allocates for its caller.  What was allocated further below the module's function may belong to
// the core, so few such objects say nothing; and what is
// older than `oldest` jiffies is by the init code of another module, which lay there before.
std::vector<Finding> judge_module_memory(const std::string& cache, const std::string& alloc_traces,
                                         const std::vector<ModuleRange>& gone,
                                         std::uint64_t oldest);
// Of all caches that have grown from `before` to `now`; the modules were loaded not longer ago than
// `since_ns`.
std::vector<Finding> read_module_memory(const SlabCounts& before, const SlabCounts& now,
                                        const std::vector<ModuleRange>& gone,
                                        std::uint64_t since_ns);

} // namespace at
