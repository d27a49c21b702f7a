package org.example.chat

import android.app.Activity
import android.os.Bundle
import android.widget.TextView
import java.io.File
import org.apache.tvm.Device
import org.apache.tvm.Function
import org.apache.tvm.Module

/** Shows which devices TVM finds, and the model that stands beside the application, if there is one. */
class MainActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(TextView(this).apply { text = report() })
    }

    private fun report(): String = buildString {
        for ((name, device) in listOf("cpu" to Device.cpu(), "opencl" to Device.opencl(), "vulkan" to Device.vulkan())) {
            appendLine("$name: ${if (device.exist()) "there" else "not there"}")
        }
        // Any global function of the runtime is called by its name.
        appendLine("paged KV cache: ${if (known("vm.builtin.paged_attention_kv_cache_create")) "there" else "missing"}")
        val model = File(applicationInfo.nativeLibraryDir, "libmodel_android.so")
        appendLine(if (model.exists()) "model: ${Module.load(model.path).typeKey()}" else "model: none")
    }

    private fun known(name: String): Boolean = try {
        Function.getFunction(name) != null
    } catch (_: Throwable) {
        false
    }
}
