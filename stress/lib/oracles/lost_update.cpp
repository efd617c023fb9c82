#include "lib/oracles/lost_update.h"

namespace at {

std::vector<Finding> judge_lost_updates(const std::map<std::string, SiteCount>& counts) {
    std::vector<Finding> findings;
    for (const auto& [site, count] : counts) {
        if (!count.lost)
            continue;
        // Without what the compiler put behind it: "zc_feed.part.0".
        const std::size_t begin = site.find(':') + 1;
        const std::string function = site.substr(begin, site.find_first_of(".+", begin) - begin);
        findings.push_back({"sanitizer",
                            "an update was lost in " + function,
                            "sanitizer/lost-update/" + function,
                            {"at " + site + ": of " + std::to_string(count.parted) +
                             " passages that waited between their read and their write another "
                             "CPU wrote in " +
                             std::to_string(count.lost)}});
    }
    return findings;
}

} // namespace at
