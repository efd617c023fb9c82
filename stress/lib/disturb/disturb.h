// Disturbances: what a process, another one or the system does beside the four racers.
//
//   submitters, cancellers, reapers, destroyers    ──── the race, as in every scenario ────
//   close   ··· dup3 onto the submitters' descriptor ··· close of a copy ···
//   fork    ······ fork, a child that looks and scribbles ······ vfork, exec ···
//   …
//
// One file a disturbance.  A scenario that is about one of them starts it by its function; `melee`
// draws some that go together out of the catalogue.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/knobs.h"
#include "lib/random.h"

namespace at {

class Race;

// Replaces the submitters' file under its requests, and closes copies of its descriptor.
void start_closers(Race& race, std::uint32_t threads);
// `threads` of the race and a helper process. Children look at the race's buffers where those are
// private.
void start_forkers(Race& race, std::uint32_t threads);
// Need private buffers: replaces, discards, moves or protects what requests were pinned through.
void start_remappers(Race& race, std::uint32_t threads);
// Moves the rings of contexts with requests in flight.
void start_ring_movers(Race& race, std::uint32_t threads);
// One thread signals every racer, `waiters` time io_pgetevents() with masks.
void start_signals(Race& race, std::uint32_t waiters);
// Takes memory and gives it back, drops caches, compacts.
void start_reclaim(Race& race);
// Takes the second CPU away and brings it back; nothing where that cannot be done.
void start_cpu_switch(Race& race);
// All threads cancel one request at the same moment; `threads` > 1.
void start_storm(Race& race, std::uint32_t threads);
// Processes that are killed inside calls of the device, of each keeper one after another.
void start_mortals(Race& race, std::uint32_t keepers);
// Wait in poll(2) and epoll_wait(2) for the device, for short times.
void start_pollers(Race& race, std::uint32_t threads);
// Open the device for files of their own, make a request or two through each, and close it at once.
void start_openers(Race& race, std::uint32_t threads);

// Cleans and gives away pages of a file that reads of its own lie in.
void start_write_back(Race& race, std::uint32_t threads);
bool can_write_back(std::string& why); // there is such a file

// --- the catalogue, and what is drawn from it ----------------------------------------------------

// Whose memory the race's buffers are (Race::use_private_buffers()).
enum class Buffers : std::uint8_t { shared, own };
const char* buffers_name(Buffers buffers);

struct Disturbance {
    const char* name;     // as the knob `disturb` says it
    bool own;             // it needs private buffers; all others go with either
    std::uint32_t weight; // in a draw; 0: by name alone
    void (*start)(Race& race);
    // Before anybody starts; false, with the reason, where the machine has not what it needs.
    // nullptr: it needs nothing.
    bool (*prepare)(Race& race, std::string& why);
};
std::span<const Disturbance> disturbances();
Knob disturb_knob(); // for a scenario that draws, or is told which

struct Drawn {
    Buffers buffers = Buffers::shared;
    std::vector<const Disturbance*> disturbances;
    bool killed = false; // the race ends by SIGKILL in mid-flight

    // "close+fork, own buffers, killed", as the run tells it.
    std::string text() const;
};

// Prepares the race for what was drawn; what cannot be had here leaves the draw. Answers
// drawn.text(), and what was left out.
std::string prepared(Drawn& drawn, Race& race);

// `word`: "drawn", or names with `+` between them.  Throws PlanError for a name that nothing has.
Drawn draw_disturbances(std::string_view word, Random& random);

} // namespace at
