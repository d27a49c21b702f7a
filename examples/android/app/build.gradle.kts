plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.example.chat"
    compileSdk = 34

    defaultConfig {
        applicationId = "org.example.chat"
        minSdk = 28
        targetSdk = 34
        versionCode = 1
        versionName = "1.0"
        // The AAR has libraries for 64-bit Arm alone.
        ndk { abiFilters += "arm64-v8a" }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
    // Libraries are 16 KiB aligned and are loaded out of the APK as they are.
    packaging { jniLibs { useLegacyPackaging = false } }
}

dependencies {
    implementation("org.apache.tvm:tvm4j:0.25.dev0")
}
