// SPDX-License-Identifier: Apache-2.0

package typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

/// What libFuzzer offers to programs that bring their own `main`.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<Arguments?>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// The package manager links `main` of an executable target to `<Target>_main`, so each target hands itself over.
package func fuzz(
    _ count: CInt, _ arguments: Arguments?, _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt {
    var count = count
    var arguments = arguments
    return runDriver(&count, &arguments, test)
}
