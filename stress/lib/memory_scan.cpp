#include "lib/memory_scan.h"

#include <unistd.h>

#include "lib/bounded.h"

namespace at {

namespace {

using std::chrono::milliseconds;

// It reads all memory that is in use, which takes an emulated guest a second or two.
constexpr milliseconds scan_bound{15000};
constexpr std::size_t report_bytes = 64 << 10;

} // namespace

bool MemoryScan::offered() const {
    return access(file_.c_str(), R_OK | W_OK) == 0;
}

bool MemoryScan::scan() const {
    const auto answer = bounded_write(file_, "scan\n", scan_bound);
    return answer.in_time && answer.status >= 0; // turned off: EPERM
}

std::string MemoryScan::report() const {
    const auto answer = bounded_read(file_, scan_bound, report_bytes);
    return answer.in_time && answer.status >= 0 ? answer.text : "";
}

std::string MemoryScan::after_quiet() {
    if (!offered() || !scan())
        return "";
    wait_(min_age);
    if (!scan())
        return "";
    told_ = report();
    return told_;
}

std::string MemoryScan::once_more() {
    if (!offered() || !scan())
        return "";
    const std::string all = report();
    return all.rfind(told_, 0) == 0 ? all.substr(told_.size()) : all;
}

} // namespace at
