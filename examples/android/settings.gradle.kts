pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        // What `cargo xtask publish maven-local` wrote; nobody else serves this group.
        exclusiveContent {
            forRepository { maven { url = uri("repository") } }
            filter { includeGroup("org.apache.tvm") }
        }
        google()
        mavenCentral()
    }
}

rootProject.name = "tvm4j-example"
include(":app")
