#include "lib/oracles/module_memory.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "lib/system.h"

namespace at {

namespace {

constexpr char slabs[] = "/sys/kernel/slab/";
constexpr char traces[] = "/sys/kernel/debug/slab/";
constexpr std::size_t most_bytes = 8 << 20;
constexpr std::int64_t beneath_least = 8;
constexpr std::size_t frames_kept = 8;

// Who allocates for its caller, and keeps nothing (lib/scatterlist.c, mm/util.c, lib/kasprintf.c,
// lib/bitmap.c).
constexpr std::string_view for_the_caller[] = {
    "__sg_alloc_table",
    "sg_alloc_table",
    "sg_kmalloc",
    "kmemdup",
    "kmemdup_nul",
    "kstrdup",
    "kstrndup",
    "kvasprintf",
    "memdup_user",
    "kvmalloc_node",
    "__kvmalloc_node_noprof",
    "bitmap_alloc",
    "bitmap_zalloc",
    "kmemdup_noprof",
    "kvmalloc_node_noprof",
};

bool allocates_for_its_caller(const std::string& caller) {
    const std::string_view name = std::string_view(caller).substr(0, caller.find('+'));
    return std::find(std::begin(for_the_caller), std::end(for_the_caller), name) !=
           std::end(for_the_caller);
}

// KASAN keeps freed objects from their cache for a while (mm/kasan/quarantine.c): they count as
// allocated.  Asked for only when there is something to tell, since the list is long.
bool freed_objects_are_kept() {
    return read_file("/proc/kallsyms", most_bytes * 8).value_or("").find("kasan_quarantine") !=
           std::string::npos;
}

// A module that is gone has addresses for symbols.  Most texts have none, and taking one apart is
// slow under emulation.
bool tells_of(const std::string& text, const std::vector<ModuleRange>& gone) {
    constexpr char address[] = " 0x";
    for (std::size_t at = text.find(address); at != std::string::npos;
         at = text.find(address, at + 1)) {
        const std::size_t end = text.find_first_of(" \n", at + 1);
        if (owner_of(text.substr(at + 1, end - at - 1), gone))
            return true;
    }
    return false;
}

// "COUNT CALLER …" and the stack in lines below it, up to an empty line.
struct Record {
    std::int64_t count = 0;
    std::uint64_t youngest = 0; // jiffies
    std::string caller;
    std::vector<std::string> frames;
};

std::optional<Record> next_record(std::istringstream& lines) {
    Record record;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string word;
        if (!(words >> word)) {
            if (record.caller.empty())
                continue;
            return record;
        }
        if (record.caller.empty()) {
            record.count = std::strtoll(word.c_str(), nullptr, 10);
            words >> record.caller;
            // age=YOUNGEST/MEAN/OLDEST, or one number
            while (words >> word)
                if (!word.compare(0, 4, "age="))
                    record.youngest = std::strtoull(word.c_str() + 4, nullptr, 10);
        } else {
            record.frames.push_back(word);
        }
    }
    if (record.caller.empty())
        return std::nullopt;
    return record;
}

} // namespace

ModuleRange parse_module(const std::string& modules, const std::string& name) {
    std::istringstream lines(modules);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        ModuleRange range;
        std::string references, users, state, start;
        if (words >> range.name >> range.bytes >> references >> users >> state >> start &&
            range.name == name) {
            range.start = std::strtoull(start.c_str(), nullptr, 16);
            return range;
        }
    }
    return {name, 0, 0};
}

ModuleRange range_of_module(const std::string& name) {
    return parse_module(read_file("/proc/modules").value_or(""), name);
}

// The coarse clocks advance by a jiffy (kernel/time/posix-timers.c, posix_get_coarse_res()).
std::uint64_t jiffies_of(std::uint64_t ns) {
    timespec jiffy{};
    clock_getres(CLOCK_MONOTONIC_COARSE, &jiffy);
    return ns / static_cast<std::uint64_t>(std::max(jiffy.tv_nsec, 1L)) + 2;
}

// What went by kfree_rcu() may count for seconds, unless memory is asked for
// (kernel/rcu/tree.c, kfree_rcu_shrink_scan()): what opening a file of sysfs takes is given back
// so, and these files stay open.  Each cache that has not grown spares the look at who has what of
// it, which takes up to a tenth of a second.
SlabCounts count_kmalloc_objects() {
    constexpr char slabs_silently[] = "6"; // fs/drop_caches.c
    static std::map<std::string, Fd> files;
    std::error_code error;
    write_file("/proc/sys/vm/drop_caches", slabs_silently);
    if (files.empty())
        for (const auto& entry : std::filesystem::directory_iterator(traces, error))
            if (const std::string cache = entry.path().filename(); !cache.rfind("kmalloc-", 0))
                files.emplace(cache,
                              open((slabs + cache + "/objects").c_str(), O_RDONLY | O_CLOEXEC));
    SlabCounts counts;
    for (const auto& [cache, file] : files) {
        char text[64] = {};
        if (pread(file.get(), text, sizeof text - 1, 0) > 0)
            counts[cache] = std::strtoll(text, nullptr, 10);
    }
    return counts;
}

const ModuleRange* owner_of(const std::string& word, const std::vector<ModuleRange>& gone) {
    if (word.compare(0, 2, "0x"))
        return nullptr;
    const std::uint64_t address = std::strtoull(word.c_str(), nullptr, 16);
    for (const ModuleRange& range : gone)
        if (address >= range.start && address < range.start + range.bytes)
            return &range;
    return nullptr;
}

std::string named(const std::string& word, const std::vector<ModuleRange>& gone) {
    const ModuleRange* owner = owner_of(word, gone);
    if (!owner)
        return word;
    std::ostringstream text;
    text << owner->name << "+0x" << std::hex
         << std::strtoull(word.c_str(), nullptr, 16) - owner->start;
    return text.str();
}

std::vector<Finding> judge_module_memory(const std::string& cache, const std::string& alloc_traces,
                                         const std::vector<ModuleRange>& gone,
                                         std::uint64_t oldest) {
    std::vector<Finding> findings;
    if (!tells_of(alloc_traces, gone))
        return findings;
    std::istringstream lines(alloc_traces);
    while (const auto record = next_record(lines)) {
        const ModuleRange* owner = owner_of(record->caller, gone);
        const bool direct = owner || allocates_for_its_caller(record->caller);
        for (const std::string& frame : record->frames)
            if (!owner)
                owner = owner_of(frame, gone);
        if (!owner || record->youngest > oldest || (!direct && record->count < beneath_least))
            continue;
        std::vector<std::string> evidence{std::to_string(record->count) + " objects, by " +
                                          named(record->caller, gone)};
        for (std::size_t i = 0; i < record->frames.size() && i < frames_kept; ++i)
            evidence.push_back(named(record->frames[i], gone));
        findings.push_back({"leak",
                            "memory of module " + owner->name + " stays allocated: " + cache,
                            "leak/module-memory/" + owner->name + "/" + cache, evidence});
    }
    return findings;
}

std::vector<Finding> read_module_memory(const SlabCounts& before, const SlabCounts& now,
                                        const std::vector<ModuleRange>& gone,
                                        std::uint64_t since_ns) {
    std::vector<Finding> findings;
    for (const auto& [cache, count] : now) {
        const auto known = before.find(cache);
        if (known == before.end() || count <= known->second)
            continue;
        const auto text = read_file(traces + cache + "/alloc_traces", most_bytes);
        for (Finding& finding : judge_module_memory(cache, text.value_or(""), gone,
                                                    jiffies_of(monotonic_ns() - since_ns)))
            findings.push_back(std::move(finding));
    }
    if (!findings.empty()) {
        static const bool kept = freed_objects_are_kept();
        if (kept)
            findings.clear();
    }
    return findings;
}

} // namespace at
