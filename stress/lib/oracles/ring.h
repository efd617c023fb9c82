// What zcdma's lock guards, added up while nobody holds it (driver/zcdma_looks.c, ring_take()).
#pragma once

#include <optional>

#include "lib/driver_state.h"
#include "lib/findings.h"

namespace at {

// Each slot in use has its request in the ring, and lies in the span that was not given back; what
// is set aside has who set it aside; who is listed has its memory, its references, a time-out, and
// the work that it waits for on its way; of what is done an interrupt tells.  A correct driver breaks
// none of it for a moment.
std::optional<Finding> judge_ring(const RingState& ring);

} // namespace at
