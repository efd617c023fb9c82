#include "lib/oracles/leak.h"

#include <filesystem>
#include <sstream>

#include "lib/bounded.h"
#include "lib/system.h"

namespace at {

namespace {

Finding leak(const std::string& kind, const std::string& title, const std::string& evidence) {
    return {"leak", title, "leak/" + kind, {evidence}};
}

std::string count_line(const std::string& name, std::int64_t value) {
    return name + " " + std::to_string(value);
}

void read_slab(SystemBooks& books, const std::string& cache) {
    const std::filesystem::path path = "/sys/kernel/slab/" + cache;
    std::error_code error;
    // A symbolic link is a cache that was merged with others of its size: its count says nothing.
    if (!std::filesystem::is_directory(path, error) || std::filesystem::is_symlink(path, error))
        return;
    write_file((path / "shrink").string(), "1\n");
    if (const auto objects = read_file((path / "objects").string()))
        books["slab " + cache] = std::strtoll(objects->c_str(), nullptr, 10);
}

// Each CPU's part of the counts included.
Books read_vmstat() {
    write_file("/proc/sys/vm/stat_refresh", "1\n");
    return parse_books(read_file("/proc/vmstat").value_or(""));
}

} // namespace

std::optional<std::int64_t> read_pins() {
    const Books all = read_vmstat();
    const auto found = all.find("nr_foll_pin_acquired");
    return found == all.end() ? std::nullopt : std::optional(found->second);
}

std::optional<Finding> judge_unpinned(std::int64_t pins, std::int64_t transfers) {
    if (2 * pins >= transfers)
        return std::nullopt;
    return Finding{"contract",
                   "a device uses pages of users that nobody has pinned",
                   "contract/unpinned",
                   {std::to_string(pins) + " pages pinned, " + std::to_string(transfers) +
                    " requests answered whole"}};
}

SystemBooks read_system_books() {
    SystemBooks books;
    if (const auto number = read_file("/proc/sys/fs/aio-nr"))
        books["aio-nr"] = std::strtoll(number->c_str(), nullptr, 10);
    const Books vmstat = read_vmstat();
    if (vmstat.count("nr_foll_pin_acquired"))
        books["pinned pages"] =
            value_of(vmstat, "nr_foll_pin_acquired") - value_of(vmstat, "nr_foll_pin_released");
    // kernel/dma/swiotlb.c; constant where nothing is bounced
    if (const auto used = read_file("/sys/kernel/debug/swiotlb/io_tlb_used"))
        books["bounce slots"] = std::strtoll(used->c_str(), nullptr, 10);
    read_slab(books, "kioctx");
    read_slab(books, "aio_kiocb");
    return books;
}

std::vector<Finding> judge_books(const Books& books, std::int64_t ring,
                                 const std::vector<DriverRequest>& requests) {
    std::vector<Finding> findings;
    if (const auto live = value_of(books, "live")) {
        const DriverRequest* oldest = nullptr;
        for (const DriverRequest& request : requests)
            if (!oldest || request.age_us > oldest->age_us)
                oldest = &request;
        Finding finding =
            oldest ? leak("live/" + signature_of(*oldest),
                          "request left in the driver: " + where_it_stands(*oldest),
                          count_line("live", live))
                   : leak("live", "request left in the driver's books", count_line("live", live));
        for (std::size_t i = 0; i < requests.size() && i < 8; ++i)
            finding.evidence.push_back("request " + requests[i].line);
        findings.push_back(finding);
    }
    for (const char* holder : {"submit", "engine", "cancel", "timeout", "core"})
        if (const auto count = value_of(books, std::string("ref_") + holder))
            findings.push_back(leak(std::string("reference/") + holder,
                                    std::string("reference not returned by ") + holder,
                                    count_line(std::string("ref_") + holder, count)));
    if (const auto pages = value_of(books, "pinned_pages"))
        findings.push_back(leak("pinned", "pages stay pinned in the driver's books",
                                count_line("pinned_pages", pages)));
    if (const auto mapped = value_of(books, "mapped_descs"))
        findings.push_back(
            leak("mapped", "descriptors stay mapped", count_line("mapped_descs", mapped)));
    if (books.count("free_descs") && value_of(books, "free_descs") != ring)
        findings.push_back(leak("descriptors", "descriptors are missing from the ring",
                                count_line("free_descs", value_of(books, "free_descs"))));
    if (const auto steps = value_of(books, "illegal_steps"))
        findings.push_back({"contract",
                            "the driver booked an illegal step of a request",
                            "contract/illegal-step",
                            {count_line("illegal_steps", steps)}});
    const auto submitted = value_of(books, "submitted");
    const auto completed = value_of(books, "completed");
    if (submitted != completed)
        findings.push_back(
            {"ledger",
             submitted > completed ? "the driver completed fewer requests than it was given"
                                   : "the driver completed more requests than it was given",
             submitted > completed ? "ledger/books-fewer" : "ledger/books-more",
             {count_line("submitted", submitted), count_line("completed", completed)}});
    std::int64_t sum = 0;
    for (const auto& [name, count] : books)
        if (name.starts_with("completed_"))
            sum += count;
    if (submitted == completed && sum != completed)
        findings.push_back({"ledger",
                            "the driver's kinds of completion do not add up",
                            "ledger/books-kinds",
                            {count_line("completed", completed), count_line("kinds", sum)}});
    return findings;
}

std::vector<Finding> judge_system(const SystemBooks& before, const SystemBooks& now) {
    static const std::map<std::string, const char*> titles = {
        {"aio-nr", "contexts stay booked in aio-nr"},
        {"pinned pages", "user pages stay pinned"},
        {"bounce slots", "bounce buffers stay mapped"},
        {"slab kioctx", "kioctx objects stay allocated"},
        {"slab aio_kiocb", "aio_kiocb objects stay allocated"},
    };
    std::vector<Finding> findings;
    for (const auto& [name, value] : now) {
        const auto baseline = before.find(name);
        if (baseline == before.end() || value <= baseline->second)
            continue;
        const auto title = titles.find(name);
        findings.push_back(leak(name, title == titles.end() ? name : title->second,
                                name + ": " + std::to_string(baseline->second) + " before, " +
                                    std::to_string(value) + " after"));
    }
    return findings;
}

std::vector<Finding> judge_survivors(const std::vector<DriverRequest>& requests) {
    for (const DriverRequest& request : requests)
        if (request.phase != "unmap" && request.phase != "unpin" && request.phase != "free")
            return {leak("survivor/" + request.phase,
                         "a request outlived its process: " + where_it_stands(request),
                         "request " + request.line)};
    return {};
}

std::optional<Finding> judge_kept(const DriverRequest& request, std::uint64_t since_ns,
                                  std::uint64_t bound_ns) {
    if (since_ns <= bound_ns)
        return std::nullopt;
    return leak("kept/" + signature_of(request),
                "a request is kept after its event: " + where_it_stands(request),
                "request " + request.line);
}

Finding left_by_close(const DriverRequest& request) {
    return leak("after-close/" + signature_of(request),
                "a request outlived the close of its file: " + where_it_stands(request),
                "request " + request.line);
}

Finding left_by_death(const DriverRequest& request) {
    return leak("after-death/" + signature_of(request),
                "a request outlived its killed process: " + where_it_stands(request),
                "request " + request.line);
}

std::optional<Finding> judge_unload(bool unloaded, const std::string& module,
                                    const std::string& why) {
    if (unloaded)
        return std::nullopt;
    return Finding{"leak",
                   "module " + module + " cannot be unloaded after all has ended",
                   "leak/module/" + module,
                   {why}};
}

Finding judge_load_after_failure(const std::string& module, const std::string& why) {
    return {"leak",
            "module " + module + " cannot be loaded after its loading failed for want of memory",
            "leak/module-load/" + module,
            {why}};
}

std::optional<Finding> judge_open_file(const std::string& kind, std::uint64_t waited_ns,
                                       std::uint64_t bound_ns) {
    if (waited_ns < bound_ns)
        return std::nullopt;
    return Finding{"leak",
                   "a polled file stays open after its last request ended: " + kind,
                   "leak/file/" + kind,
                   {}};
}

std::vector<Finding> judge_totals(const Books& books, const LedgerTotals& totals) {
    std::vector<Finding> findings;
    // Not nodev: a request that is refused on the way in is answered and never booked.
    struct Kind {
        const char* name;
        std::int64_t seen;
        bool all_seen; // but for `unseen`
    };
    const Kind kinds[] = {{"cancelled", totals.cancelled, true},
                          {"timeout", totals.timeouts, true},
                          {"ok", totals.whole, false},
                          {"short", totals.shorts, false}};
    for (const auto& [kind, seen, all_seen] : kinds) {
        const std::string name = std::string("completed_") + kind;
        if (!books.count(name))
            continue;
        const std::int64_t booked = value_of(books, name);
        if (booked >= seen && (!all_seen || booked <= seen + totals.unseen))
            continue;
        findings.push_back({"ledger",
                            std::string("driver's books and events disagree: ") + kind,
                            std::string("ledger/disagree/") + kind,
                            {count_line(name, booked), count_line("events", seen),
                             count_line("unseen", totals.unseen)}});
    }
    return findings;
}

} // namespace at
