#include "lib/site_turns.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/driver_state.h"
#include "lib/modules.h"
#include "lib/oracles/module_memory.h"
#include "lib/system.h"

namespace at {

bool parse_site_line(const std::string& line, std::string& name, SiteCount& count) {
    char text[192];
    unsigned long long passed = 0;
    unsigned long long stretched = 0;
    unsigned long long waited_us = 0;
    unsigned long long missed = 0;
    unsigned long long parted = 0;
    unsigned long long lost = 0;
    int error = 0;
    if (std::sscanf(line.c_str(), "site=%191s error=%d", text, &error) == 2) {
        count = {};
        count.error = error;
    } else if (std::sscanf(line.c_str(),
                           "site=%191s passed=%llu stretched=%llu waited_us=%llu missed=%llu "
                           "parted=%llu lost=%llu",
                           text, &passed, &stretched, &waited_us, &missed, &parted, &lost) == 7) {
        count = {0, passed, stretched, waited_us, missed, parted, lost};
    } else {
        return false;
    }
    name = text;
    return true;
}

std::vector<Knob> with_site_knobs(std::vector<Knob> knobs) {
    constexpr auto scope = Scope::scenario;
    // clang-format off
    knobs.insert(knobs.end(), {
        {"sites", scope, Kind::integer, "0", "0", "32", {}, "instructions", "instructions of the target's module, drawn from the seed, that are drawn out at a time; on one CPU where the kernel is preempted anywhere alone (docs/windows.md)"},
        {"path", scope, Kind::choice, "any", "", "", {"any", "none", "recovery", "removal", "writeback", "cancel", "fsync", "poll"}, "", "which path of the driver the plan takes of those that few plans take (recovery, removal, writeback: `sites` leaves their functions out), or is made for; any: it does not say, and only those that run when a device comes or goes are left out, but by removal_under_load"},
        {"path_sites", scope, Kind::integer, "0", "0", "32", {}, "instructions", "the same of the functions of that path"},
        {"kernel_sites", scope, Kind::integer, "0", "0", "32", {}, "instructions", "the same of the kernel's fs/aio.c, of a kernel that was built here"},
        {"site_order", scope, Kind::integer, "0", "0", "4294967295", {}, "", "seed of the order in which they are drawn; 0: the plan's"},
        {"site_from", scope, Kind::integer, "0", "0", "1000000000", {}, "instructions", "the first of that order: cells of one search draw others each (docs/mutants.md)"},
        {"path_from", scope, Kind::integer, "0", "0", "1000000000", {}, "instructions", "the same for path_sites"},
        {"kernel_site_from", scope, Kind::integer, "0", "0", "1000000000", {}, "instructions", "the same for kernel_sites"},
        {"site_turn", scope, Kind::duration, "0ms", "0ms", "3600s", {}, "", "how long these stand until the next ones are drawn out; 0: all the time, as emulated CPUs need it (docs/windows.md)"},
        {"site_share", scope, Kind::real, "0.5", "0", "1", {}, "share", "passages at these that wait, as far as a site may take time"},
        {"steal_ns", scope, Kind::integer, "0", "0", "1000000000", {}, "ns", "from one look of each CPU's where it is to the next: inside the module that the sites are of it stays there for a moment, as if its host had taken it away (docs/windows.md), 10000 and more; 0: none"},
        {"site_long", scope, Kind::real, "0.03125", "0", "1", {}, "share", "waits at these that may take 1 ms even where interrupts are off; others 100 us"},
    });
    // clang-format on
    return knobs;
}

SitesAsked sites_asked(const KnobValues& knobs) {
    SitesAsked asked;
    asked.at_once = static_cast<std::size_t>(knobs.integer("sites") + knobs.integer("path_sites") +
                                             knobs.integer("kernel_sites"));
    asked.share = asked.at_once ? knobs.real("site_share") : 0;
    asked.long_share = knobs.real("site_long");
    asked.steal_ns = knobs.integer("steal_ns");
    asked.turn = std::chrono::milliseconds(knobs.nanoseconds("site_turn") / 1000000);
    return asked;
}

SiteTurns::SiteTurns(std::vector<std::string> sites, const SitesAsked& asked)
    : sites_(std::move(sites)), asked_(asked) {
    asked_.at_once = std::min(asked_.at_once, sites_.size());
}

// Where the code lies that places are counted from: a module's .text, the kernel's _stext, which
// stands among the first lines of /proc/kallsyms.  0: nobody knows.
std::uint64_t begin_of_text(const std::string& module) {
    if (module != "vmlinux") {
        const auto section = read_file("/sys/module/" + module + "/sections/.text");
        return section ? std::strtoull(section->c_str(), nullptr, 16) : 0;
    }
    std::ifstream symbols("/proc/kallsyms");
    for (std::string line; std::getline(symbols, line);)
        if (line.size() > 7 && line.compare(line.size() - 7, 7, " _stext") == 0)
            return std::strtoull(line.c_str(), nullptr, 16);
    return 0;
}

// "module:function+offset@place in .text" with the address in place of the place; without either
// where nobody knows where the module lies.
std::string with_address(const std::string& site, std::map<std::string, std::uint64_t>& texts) {
    const auto at = site.find('@');
    const auto colon = site.find(':');
    if (at == std::string::npos || colon == std::string::npos)
        return site;
    const std::string module = site.substr(0, colon);
    if (!texts.count(module))
        texts[module] = begin_of_text(module);
    if (!texts[module])
        return site.substr(0, at);
    char address[24];
    std::snprintf(address, sizeof address, "@0x%llx",
                  static_cast<unsigned long long>(
                      texts[module] + std::strtoull(site.c_str() + at + 1, nullptr, 16)));
    return site.substr(0, at) + address;
}

std::vector<std::string> SiteTurns::group() const {
    std::vector<std::string> names;
    std::map<std::string, std::uint64_t> texts;
    for (std::size_t i = 0; i < asked_.at_once; ++i)
        names.push_back(with_address(sites_[(next_ + i) % sites_.size()], texts));
    return names;
}

// In the target's module; what its device's part does has interrupts off.
Steals SiteTurns::steals() const {
    const auto own = std::find_if(sites_.begin(), sites_.end(), [](const std::string& site) {
        return site.find(':') != std::string::npos && site.rfind("vmlinux:", 0);
    });
    if (!asked_.steal_ns || own == sites_.end())
        return {};
    const ModuleRange range = range_of_module(own->substr(0, own->find(':')));
    return {range.start, range.bytes, range.bytes ? asked_.steal_ns : 0};
}

void SiteTurns::place() {
    if (!any())
        return;
    count();
    if (!placed_)
        optimised_ = optimise_probes(false);
    place_sites(group(), asked_.share, asked_.long_share, steals());
    placed_ = true;
}

void SiteTurns::remove() {
    if (!placed_)
        return;
    count();
    place_sites({}, 0, 0, {});
    if (optimised_)
        optimise_probes(true);
    placed_ = false;
}

void SiteTurns::count() {
    if (!placed_)
        return;
    if (asked_.steal_ns)
        for (const auto& [name, value] : parse_books(read_steals()))
            stolen_[name] += value;
    std::istringstream lines(read_sites());
    for (std::string line; std::getline(lines, line);) {
        std::string name;
        SiteCount last;
        if (!parse_site_line(line, name, last))
            continue;
        SiteCount& sum = counts_[name];
        sum.error = last.error;
        sum.passed += last.passed;
        sum.stretched += last.stretched;
        sum.waited_us += last.waited_us;
        sum.missed += last.missed;
        sum.parted += last.parted;
        sum.lost += last.lost;
    }
}

nlohmann::json SiteTurns::told(nlohmann::json& counters) const {
    nlohmann::json sites = nlohmann::json::array();
    SiteCount all;
    std::uint64_t met = 0;
    for (const auto& [name, count] : counts_) {
        if (count.error)
            sites.push_back({{"site", name}, {"error", count.error}});
        else
            sites.push_back({{"site", name},
                             {"passed", count.passed},
                             {"stretched", count.stretched},
                             {"waited_us", count.waited_us},
                             {"missed", count.missed},
                             {"parted", count.parted},
                             {"lost", count.lost}});
        met += count.stretched > 0;
        all.passed += count.passed;
        all.stretched += count.stretched;
        all.waited_us += count.waited_us;
        all.parted += count.parted;
    }
    if (!sites.empty())
        counters.update({{"sites_placed", sites.size()},
                         {"sites_met", met},
                         {"site_passages", all.passed},
                         {"site_stretches", all.stretched},
                         {"site_parted", all.parted},
                         {"site_us", all.waited_us}});
    if (asked_.steal_ns)
        counters.update({{"steals", value_of(stolen_, "inside")},
                         {"steal_us", value_of(stolen_, "waited_us")}});
    return sites;
}

SiteTurns::Taking::Taking(SiteTurns& turns, std::function<bool()> healthy)
    : turns_(turns), healthy_(std::move(healthy)) {
    if (turns_.placed_ && turns_.sites_.size() > turns_.asked_.at_once &&
        turns_.asked_.turn.count() > 0)
        thread_ = std::thread([this] { take_turns(); });
}

SiteTurns::Taking::~Taking() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    ending_.notify_all();
    if (thread_.joinable())
        thread_.join();
}

void SiteTurns::Taking::take_turns() {
    std::unique_lock lock(mutex_);
    while (!ending_.wait_for(lock, turns_.asked_.turn, [this] { return ends_; })) {
        if (!healthy_())
            continue;
        turns_.next();
        try {
            turns_.place();
        } catch (const std::runtime_error&) {
            return; // an injector that does not answer: what stands stays
        }
    }
}

} // namespace at
