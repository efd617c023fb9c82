// Lost-update oracle: an instruction read memory and wrote it back changed, and another CPU had
// written in between.
//
// The injector waits inside some such instructions (fault/at_split.h).  Where both writers hold one
// lock nobody writes meanwhile; what is counted without one is counted by an atomic operation,
// which has a lock prefix (Documentation/atomic_t.txt).  A plain one is a data race, as KCSAN would
// say.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/findings.h"
#include "lib/site_turns.h"

namespace at {

// Of sites as the injector names them, `module:function+offset`.
std::vector<Finding> judge_lost_updates(const std::map<std::string, SiteCount>& counts);

} // namespace at
