// How long the injector has waited in the driver's place, at probes, registers and sites
// (fault/sites.c): who judges how long a request takes leaves it out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace at {

class StretchedTime {
public:
    // nullptr where there is no injector.
    static std::unique_ptr<StretchedTime> open();
    ~StretchedTime();
    StretchedTime(const StretchedTime&) = delete;
    StretchedTime& operator=(const StretchedTime&) = delete;

    // In sum of all CPUs, since the injector was armed.
    std::uint64_t ns() const;

private:
    StretchedTime(std::byte* page, std::size_t bytes) : page_(page), bytes_(bytes) {}

    std::byte* page_;
    std::size_t bytes_;
};

} // namespace at
