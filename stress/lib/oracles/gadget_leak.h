// Leak oracle of a gadget's requests: the mm of processes that are gone.
//
// functionfs holds the submitter's mm for each request (f_fs.c, ffs_epfile_read_iter(), mmgrab())
// and must give it back with the request, whatever became of it.  One mm_struct that lives on can
// have many reasons (a CPU that idles borrows its last task's mm), so the stressor sends several
// processes; most of theirs still allocated after the bound is a leak.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/findings.h"

namespace at {

// Objects of the slab cache mm_struct; -1 where it has none of its own.
std::int64_t allocated_mm_structs();

// Are most of `ended` processes' mm still there?
std::optional<Finding> judge_mm_count(std::int64_t before, std::int64_t now, std::uint64_t ended);

// Waits until few of `ended` processes' mm are left, for as long as the bound.
std::vector<Finding> judge_mm_structs(std::int64_t before, std::uint64_t ended);

} // namespace at
