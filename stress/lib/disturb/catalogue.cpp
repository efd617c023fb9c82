#include "lib/disturb/disturb.h"

#include <algorithm>

#include "lib/race.h"

namespace at {

namespace {

constexpr char drawn_word[] = "drawn";
constexpr std::uint32_t least_drawn = 2;
constexpr std::uint32_t most_drawn = 3;
constexpr std::uint32_t kill_one_in = 4;

bool write_back_prepared(Race&, std::string& why) {
    return can_write_back(why);
}

// clang-format off
constexpr Disturbance all[] = {
    //            own    weight
    {"close",     false, 4, [](Race& race) { start_closers(race, 1); }, nullptr},
    {"fork",      false, 5, [](Race& race) { start_forkers(race, 1); }, nullptr},
    {"remap",     true,  4, [](Race& race) { start_remappers(race, 2); }, nullptr},
    {"rings",     false, 2, [](Race& race) { start_ring_movers(race, 1); }, nullptr},
    {"signals",   false, 4, [](Race& race) { start_signals(race, 1); }, nullptr},
    {"reclaim",   false, 2, [](Race& race) { start_reclaim(race); }, nullptr},
    {"cpus",      false, 0, [](Race& race) { start_cpu_switch(race); }, nullptr},
    {"storm",     false, 1, [](Race& race) { start_storm(race, 2); }, nullptr},
    {"poll",      false, 2, [](Race& race) { start_pollers(race, 1); }, nullptr},
    {"mortal",    false, 3, [](Race& race) { start_mortals(race, 1); }, nullptr},
    {"open",      false, 3, [](Race& race) { start_openers(race, 1); }, nullptr},
    {"writeback", false, 5, [](Race& race) { start_write_back(race, 2); }, write_back_prepared},
};
// clang-format on

const Disturbance& named(std::string_view name) {
    std::string known;
    for (const Disturbance& one : all) {
        if (name == one.name)
            return one;
        known += std::string(known.empty() ? "" : " ") + one.name;
    }
    throw PlanError("disturb=" + std::string(name) + ": nothing is called so; there is: " + known);
}

bool is_drawn(const Drawn& drawn, const Disturbance& one) {
    return std::count(drawn.disturbances.begin(), drawn.disturbances.end(), &one) > 0;
}

// By weight, among those that go with the buffers, or need private ones, and are not there yet.
const Disturbance* draw_one(const Drawn& drawn, bool needing_own, Random& random) {
    const auto weight = [&](const Disturbance& one) {
        const bool fits = needing_own ? one.own : !one.own || drawn.buffers == Buffers::own;
        return fits && !is_drawn(drawn, one) ? one.weight : 0;
    };
    std::uint32_t total = 0;
    for (const Disturbance& one : all)
        total += weight(one);
    std::uint32_t at = random.below(total);
    const Disturbance* last = nullptr;
    for (const Disturbance& one : all) {
        if (weight(one))
            last = &one;
        if (at < weight(one))
            break;
        at -= weight(one);
    }
    return last;
}

} // namespace

Knob disturb_knob() {
    std::vector<const char*> words{drawn_word};
    for (const Disturbance& one : all)
        words.push_back(one.name);
    return {"disturb",
            Scope::scenario,
            Kind::words,
            drawn_word,
            "",
            "",
            words,
            "",
            "what disturbs the race: drawn from the seed, or some by name, as in close+signals"};
}

std::span<const Disturbance> disturbances() {
    return all;
}

const char* buffers_name(Buffers buffers) {
    return buffers == Buffers::own ? "own" : "shared";
}

std::string Drawn::text() const {
    std::string text;
    for (const Disturbance* one : disturbances)
        text += (text.empty() ? "" : "+") + std::string(one->name);
    return text + ", " + buffers_name(buffers) + " buffers" + (killed ? ", killed" : "");
}

std::string prepared(Drawn& drawn, Race& race) {
    std::string left_out;
    std::erase_if(drawn.disturbances, [&](const Disturbance* one) {
        std::string why;
        if (!one->prepare || one->prepare(race, why))
            return false;
        left_out += std::string("; without ") + one->name + " (" + why + ")";
        return true;
    });
    return drawn.text() + left_out;
}

Drawn draw_disturbances(std::string_view word, Random& random) {
    Drawn drawn;
    if (word == drawn_word) {
        drawn.buffers = random.below(3) ? Buffers::shared : Buffers::own;
        const std::uint32_t wanted = least_drawn + random.below(most_drawn - least_drawn + 1);
        if (drawn.buffers == Buffers::own)
            drawn.disturbances.push_back(draw_one(drawn, true, random));
        while (drawn.disturbances.size() < wanted)
            drawn.disturbances.push_back(draw_one(drawn, false, random));
    } else {
        for (const std::string_view name : split(word, '+')) {
            const Disturbance& one = named(name);
            if (one.own)
                drawn.buffers = Buffers::own;
            if (!is_drawn(drawn, one))
                drawn.disturbances.push_back(&one);
        }
    }
    // A fork must have said that children look before anybody takes access rights.
    std::sort(drawn.disturbances.begin(), drawn.disturbances.end());
    drawn.killed = random.below(kill_one_in) == 0;
    return drawn;
}

} // namespace at
