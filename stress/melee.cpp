// Invariant: whatever a process, its children and the system do meanwhile, each request is
// answered once, within its bounds, with its own bytes; and whatever ends leaves nothing behind.
//
// Racers: submitters with requests of every shape, cancellers, reapers, destroyers, readers of the
// driver's books; and disturbers, two or three kinds of them, drawn from the cell's seed with the
// buffers that they need (lib/disturb/disturb.h, knob `disturb`).  One race in four ends by
// SIGKILL in mid-flight.
//
// Legal outcomes:
//   a request                  as in submit_cancel_race; swept, as in destroy_under_load
//   its memory                 as in unmap_under_load and fork_exec_under_load
//   open, dup, close           succeed, and end no request: close_dup_under_load
//   a page that was cleaned
//   under a read               holds the device's bytes, read from its file again too: the driver
//   has
//                              dirtied it (lib/disturb/write_back.cpp)
//   waiting for events         may be interrupted by a signal, nothing else is: signal_timeout
//   the killed process         gone within the driver's bounds: exit_under_load

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

std::vector<at::Knob> knobs() {
    auto knobs = at::common_knobs(at::with_all_shapes({{"requests", "6000"},
                                                       {"contexts", "8"},
                                                       {"cancellers", "1"},
                                                       {"destroyers", "2"},
                                                       {"sync_ratio", "0.08"}}));
    knobs.push_back(at::disturb_knob());
    return knobs;
}

const at::Scenario scenario{
    "melee",
    "whatever disturbs a race, each request is answered once with its own bytes and leaves nothing",
    knobs(),
    {{"submitted", 500}, {"destroyed_inflight", 20}, {"disturbed", 50}},
    [](at::Race& race) {
        at::Random random(race.seed(), static_cast<std::uint64_t>(at::Role::disturber), 1 << 16);
        at::Drawn drawn = at::draw_disturbances(race.knobs().text("disturb"), random);
        if (drawn.buffers == at::Buffers::own)
            race.use_private_buffers();
        race.tell_drawn(at::prepared(drawn, race));
        if (drawn.killed)
            race.end_by_kill();
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_onlookers();
        for (const at::Disturbance* disturbance : drawn.disturbances)
            disturbance->start(race);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
