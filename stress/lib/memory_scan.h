// Memory that nothing points to any more, where the kernel looks for it (CONFIG_DEBUG_KMEMLEAK).
//
// mm/kmemleak.c, kmemleak_scan(): the first scan takes an unreferenced object's checksum, a later
// one reports it if that has not changed and the object is five seconds old (MSECS_MIN_AGE).  A
// scan while the modules are loaded names their functions; one after they are gone also finds what
// only their own books still pointed to.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace at {

class MemoryScan {
public:
    using Wait = std::function<void(std::chrono::milliseconds)>;
    MemoryScan(std::string file, Wait wait) : file_(std::move(file)), wait_(std::move(wait)) {}
    static constexpr char kernel_file[] = "/sys/kernel/debug/kmemleak";
    static constexpr std::chrono::milliseconds min_age{5200};

    bool offered() const;
    // What is reported after two scans, older than min_age; waits so long.
    std::string after_quiet();
    // What one more scan adds.
    std::string once_more();

private:
    bool scan() const;
    std::string report() const;

    const std::string file_;
    const Wait wait_;
    std::string told_;
};

} // namespace at
