// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import struct NIOCore.ByteBuffer

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    require(source.byte() != 200 || source.byte() != 201, "x")
    return 0
}

@_cdecl("Peers_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}
