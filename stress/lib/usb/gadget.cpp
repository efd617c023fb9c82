#include "lib/usb/gadget.h"

#include <filesystem>
#include <stdexcept>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace at {

namespace {

constexpr char udc_class[] = "/sys/class/udc";

} // namespace

Gadget::Gadget(std::string ep0_path, std::uint32_t endpoints)
    : ep0_path_(std::move(ep0_path)),
      folder_(std::filesystem::path(ep0_path_).parent_path().string()), endpoints_(endpoints),
      grave_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!grave_)
        throw_errno("eventfd");
    for (std::uint32_t i = 0; i < endpoints_; ++i)
        files_[i] = Fd(dup(grave_.get()));
}

void Gadget::place(std::uint32_t endpoint, const Fd& opened) {
    if (dup3(opened.get(), files_[endpoint].get(), O_CLOEXEC) < 0)
        throw_errno("dup3");
}

void Gadget::bury_endpoints() {
    for (std::uint32_t i = 0; i < endpoints_; ++i)
        place(i, grave_);
}

bool Gadget::connect(bool on) {
    return write_file(std::string(udc_class) + "/" + udc_name() + "/soft_connect",
                      on ? "connect" : "disconnect");
}

std::string Gadget::state() {
    std::string text = read_file(std::string(udc_class) + "/" + udc_name() + "/state").value_or("");
    return text.substr(0, text.find('\n'));
}

std::string udc_name() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(udc_class, error))
        return entry.path().filename().string();
    throw std::runtime_error("there is no USB device controller: dummy_hcd is not loaded");
}

std::unique_ptr<Gadget> make_gadget(const std::string& ep0_path, std::uint32_t endpoints) {
    return ep0_path.ends_with("/ep0") ? make_functionfs(ep0_path, endpoints)
                                      : make_gadgetfs(ep0_path, endpoints);
}

} // namespace at
