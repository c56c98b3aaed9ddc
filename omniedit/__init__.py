"""Edit a video with one sentence: a command line for EvoLink's gemini-omni-flash-video-edit."""

__version__ = "0.1.0"
