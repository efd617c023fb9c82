// The device's end of the cable: a gadget whose endpoints are files of this process.
//
//   functionfs   configfs gadget, mount, ep0 with descriptors, UDC written   lib/usb/functionfs.cpp
//   gadgetfs     mount, one file for ep0, endpoints set up by hand           lib/usb/gadgetfs.cpp
//
// Endpoint i is a bulk endpoint; even ones are OUT (the host writes, the gadget reads), odd ones
// IN.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace at {

constexpr std::uint16_t usb_vendor = 0x1d6b;
constexpr std::uint16_t usb_product = 0x0a10;
constexpr std::uint32_t max_endpoints = 4;

constexpr bool is_out(std::uint32_t endpoint) {
    return endpoint % 2 == 0;
}
// 0x01 0x82 0x03 0x84
constexpr std::uint8_t endpoint_address(std::uint32_t endpoint) {
    return static_cast<std::uint8_t>((endpoint + 1) | (is_out(endpoint) ? 0 : 0x80));
}

class Gadget {
public:
    virtual ~Gadget() = default;
    // Opens ep0, says what the device is, opens the endpoints.  Throws std::runtime_error.
    virtual void open() = 0;
    // Appears on the bus; the endpoints can be used when the host has configured the device.
    virtual void bind() = 0;
    // Leaves the bus: whatever is queued is answered ESHUTDOWN.
    virtual void unbind() = 0;
    // As a pulled cable and its return: the driver stays bound.  False: not offered.
    virtual bool connect(bool /*on*/) { return false; }
    // Descriptor of an endpoint's file; a closed gadget keeps the numbers, of other files.
    virtual int endpoint_fd(std::uint32_t endpoint) const = 0;
    // Closes every file, ep0 first or last; the numbers of the endpoints' stay taken.
    virtual void close(bool ep0_first) = 0;
    // The word of the device controller, as sysfs names it ("configured"), or "".
    std::string state() const;
};

std::unique_ptr<Gadget> make_functionfs(const std::string& ep0_path, std::uint32_t endpoints);

// "dummy_udc.0"; throws when there is no device controller.
std::string udc_name();

} // namespace at
