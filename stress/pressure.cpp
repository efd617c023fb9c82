// Invariant: neither a system that is short of memory and CPUs nor one that moves them loses,
// delays without bound or damages a request.
//
// Racers: submitters, cancellers, reapers and destroyers; a reclaimer that takes most of the free
// memory and gives it back, drops caches and compacts memory (movable pages are migrated; pinned
// ones must stay where the device knows them: mm/migrate.c, folio_expected_refs()); and, with two
// CPUs, an operator that switches one off and on again beside timers, work items and interrupts.
//
// Legal outcomes: those of destroy_under_load.

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "pressure",
    "neither reclaim, compaction nor CPUs that go and come damage or delay a request",
    at::common_knobs({{"requests", "4000"}, {"contexts", "4"}, {"destroyers", "2"}}),
    {{"submitted", 2000}, {"reclaims", 20}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        at::start_reclaim(race);
        at::start_cpu_switch(race);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
